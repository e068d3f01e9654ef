#!/usr/bin/env bash
# Configures a preset of CMakePresets.json and builds it, whole or one target of it:
# build.sh PRESET [-DNAME=VALUE ...] [TARGET]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
definitions=() target=all
for word in "$@"; do
  case $word in
    -D*) definitions+=("$word") ;;
    *) target=$word ;;
  esac
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A build folder may be left over from another place, generator or compiler: the second try ignores
# what it remembers.
cmake --preset "$preset" "${definitions[@]}" >"$log" 2>&1 ||
  cmake --fresh --preset "$preset" "${definitions[@]}" >"$log" 2>&1 || {
    cat "$log" >&2
    echo "build: cmake could not configure the preset '$preset'; its messages are above" >&2
    exit 1
  }
cmake --build --preset "$preset" --target "$target"

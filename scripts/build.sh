#!/usr/bin/env bash
# Configures and builds a preset of CMakePresets.json: build.sh PRESET [-DNAME=VALUE ...]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A build folder may be left over from another place, generator or compiler: the second try ignores
# what it remembers.
cmake --preset "$preset" "$@" >"$log" 2>&1 ||
  cmake --fresh --preset "$preset" "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    echo "build: cmake could not configure the preset '$preset'; its messages are above" >&2
    exit 1
  }
cmake --build --preset "$preset"

#!/usr/bin/env bash
# Runs clang-tidy 14 over the sources (or the files given) with the compile commands of the debug
# preset, which compiles each file by itself.
# A help for writing, no gate: it is slow, and not part of `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v clang-tidy-14 >/dev/null; then
  echo "tidy: needs clang-tidy 14 (Debian package clang-tidy-14)" >&2
  exit 1
fi
if [ $# -eq 0 ]; then
  mapfile -t files < <(find src apps -name node_modules -prune -o -name '*.cpp' -print | sort)
  set -- "${files[@]}"
fi
cmake --preset debug >/dev/null
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" clang-tidy-14 -p build-debug --quiet

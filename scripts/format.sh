#!/usr/bin/env bash
# Formats the C++ sources in place; with --check, changes nothing and fails if any would change.
# Only clang-format 14 will do: other versions format differently.
set -euo pipefail
cd "$(dirname "$0")/.."

arguments=(-i)
[ "${1:-}" != --check ] || arguments=(--dry-run -Werror)

for clang_format in clang-format-14 clang-format; do
  ! "$clang_format" --version 2>/dev/null | grep -q 'version 14\.' || break
  clang_format=
done
if [ -z "$clang_format" ]; then
  echo "format: needs clang-format 14 (Debian package clang-format-14)" >&2
  exit 1
fi

find src apps tests bench examples -name node_modules -prune -o \
  \( -name '*.h' -o -name '*.cpp' \) -print0 |
  xargs -0 -n 32 -P "$(nproc)" "$clang_format" --style=file "${arguments[@]}"

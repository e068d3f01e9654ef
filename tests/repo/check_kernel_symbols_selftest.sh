#!/usr/bin/env bash
# Shows that check_kernel_symbols.sh passes a plain function and names an inline one left out of
# line: check_kernel_symbols_selftest.sh CXX NM
set -euo pipefail
check=$(cd "$(dirname "$0")" && pwd)/check_kernel_symbols.sh
cxx=$1
nm=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo 'static int twice(int x) { return 2 * x; } int kernel(int x) { return twice(x); }' |
  "$cxx" -x c++ -O0 -c - -o "$work/good.o"
echo 'inline int twice(int x) { return 2 * x; } int kernel(int x) { return twice(x); }' |
  "$cxx" -x c++ -O0 -c - -o "$work/bad.o"

"$check" "$nm" "$work/good.o"
if output=$("$check" "$nm" "$work/good.o" "$work/bad.o"); then
  echo "should fail: a weak symbol in bad.o"
  exit 1
fi
grep -F 'bad.o' <<<"$output" | grep -qF 'twice(int)'

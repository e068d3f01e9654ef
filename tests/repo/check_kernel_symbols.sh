#!/usr/bin/env bash
# The kernels of an instruction set must define no weak symbol: an inline function or template that
# the compiler left out of line there would be AVX code that the linker may pick for the whole
# program, which then dies on older CPUs. check_kernel_symbols.sh NM OBJECT...
set -euo pipefail
nm=$1
shift
symbols=$("$nm" --defined-only --demangle --print-file-name "$@")
if weak=$(grep -E ':[0-9a-f]+ [VWu] ' <<<"$symbols"); then
  echo "weak symbols in objects compiled for one instruction set (make them always_inline or static):"
  echo "$weak"
  exit 1
fi

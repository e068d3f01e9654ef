#!/usr/bin/env bash
# Shows that check_includes.sh accepts what the rings allow and names each thing that they do not.
set -euo pipefail
check=$(cd "$(dirname "$0")" && pwd)/check_includes.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# tree FILE LINE [FILE LINE ...]: makes a tree in which each FILE holds its LINE.
tree() {
  rm -rf "$work/tree"
  mkdir -p "$work/tree/src/nibble" "$work/tree/apps"
  while [ $# -gt 0 ]; do
    mkdir -p "$(dirname "$work/tree/$1")"
    printf '// opens the file\n%s\n' "$2" >"$work/tree/$1"
    shift 2
  done
}

accepts() {
  tree "$@"
  if ! output=$("$check" "$work/tree" 2>&1); then
    echo "should pass: $*"$'\n'"  $output"
    failures=$((failures + 1))
  fi
}

# rejects MESSAGE FILE LINE ...: the check fails and says MESSAGE.
rejects() {
  local message=$1
  shift
  tree "$@"
  if output=$("$check" "$work/tree" 2>&1) || ! grep -qF "$message" <<<"$output"; then
    echo "should fail with '$message': $*"$'\n'"  $output"
    failures=$((failures + 1))
  fi
}

accepts src/nibble/ops/a.h '#include "nibble/core/b.h"'
accepts src/nibble/ops/a.h '#include "nibble/ops/b.h"'
accepts src/nibble/ops/a.h '#include <vector>'
accepts src/nibble/kernels/avx2/a.cpp '#include "nibble/kernels/avx2/b.h"'
accepts src/nibble/kernels/avx2/a.cpp '#include "nibble/kernels/kernel_set.h"'
accepts src/nibble/kernels/avx2/a.cpp '#include "nibble/kernels/vector/b.h"'
accepts src/nibble/kernels/vector/a.h '#include "nibble/kernels/vector/b.h"'
accepts src/nibble/quant/a.cpp '  #  include "nibble/models/b.h"'
accepts apps/nibble/a.cpp '#include "nibble/server/b.h"' apps/nibble/b.cpp '#include "a.h"'

further='which is not in a ring further down'
rejects "src/nibble/core/a.h:2: core includes nibble/ops/b.h, $further" \
  src/nibble/core/a.h '#include "nibble/ops/b.h"'
rejects "ops includes nibble/layers/b.h, $further" src/nibble/ops/a.cpp ' # include "nibble/layers/b.h"'
rejects "$further" src/nibble/formats/a.h '#include "nibble/tokenizer/b.h"'
rejects "$further" src/nibble/eval/a.h '#include "nibble/bench/b.h"'
rejects "$further" src/nibble/convert/a.h '#include "nibble/quant/b.h"'
rejects "$further" src/nibble/server/a.h '#include "nibble/apps/b.h"'
rejects "$further" src/nibble/core/fine.h '#include <vector>' src/nibble/models/a.h '#include <nibble/runtime/b.h>'
rejects 'nibble/misc/b.h is in no known ring' src/nibble/ops/a.h '#include "nibble/misc/b.h"'
rejects 'nibble/b.h is in no known ring' src/nibble/ops/a.h '#include "nibble/b.h"'
rejects 'src/nibble/misc/a.h:1: this file is in no known ring' src/nibble/misc/a.h '#include <vector>'
rejects 'this file is in no known ring' src/nibble/a.h '#include <vector>'
rejects 'of another instruction set' src/nibble/kernels/avx512/a.cpp '#include "nibble/kernels/avx2/b.h"'
rejects 'of another instruction set' src/nibble/kernels/avx2/a.cpp '#include "nibble/kernels/scalar/b.h"'
rejects 'of another instruction set' src/nibble/kernels/vector/a.h '#include "nibble/kernels/avx2/b.h"'
rejects 'no known kernel set' src/nibble/kernels/sse/a.cpp '#include <vector>'
rejects 'with quotes' src/nibble/ops/a.h '#include <nibble/core/b.h>'
rejects 'as "nibble/<ring>/..."' src/nibble/ops/a.h '#include "b.h"'
rejects 'as "nibble/<ring>/..."' apps/nibble/a.cpp '#include "../../src/nibble/core/b.h"'
rejects 'no C++ files' src/nibble/ops/README '#include "b.h"'

[ "$failures" -eq 0 ]

#!/usr/bin/env bash
# Checks that no code but that of the formats themselves and of their kernels names a weight format:
# what else has to be known of one, its codec says (CONTRIBUTING.md). check_weight_formats.sh ROOT
set -euo pipefail
cd "$1"

[ -d src/nibble/weights ] || { echo "no src/nibble/weights under $1" >&2; exit 1; }
grep -q 'WeightFormat::k' -r src/nibble/weights || { echo "no format is named at all" >&2; exit 1; }

if found=$(grep -rnE 'WeightFormat::k|\bk(W[0-9]+|[BF]?F(16|32))Codec\b' --include='*.h' --include='*.cpp' \
    src/nibble apps examples | grep -vE '^src/nibble/(weights|kernels)/'); then
  echo "a weight format is named outside weights/ and kernels/ (ask codec_of() instead):" >&2
  echo "$found" >&2
  exit 1
fi

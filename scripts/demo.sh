#!/usr/bin/env bash
# A first look: a small model that comes with the repository, quantized to 4 and 3 bits, writing a
# story, and what the bits cost in perplexity.
set -euo pipefail
cd "$(dirname "$0")/.."

model=data/stories260K
out=build/demo
mkdir -p "$out"

show() {  # prints a command, then runs it
  printf '\n$ nibble %s\n' "${*@Q}" | sed "s/'\([A-Za-z0-9_.,\/-]*\)'/\1/g"
  build/nibble "$@"
}

show quantize "$model" -o "$out/w4" --w-bit 4 --group-size 32 --force
show quantize "$model" -o "$out/w3" --w-bit 3 --group-size 32 --force
show run "$model" "Once upon a time" -n 120
show run "$out/w4" "Once upon a time" -n 120
show eval "$model" "$out/w4" "$out/w3" --task perplexity --text data/stories.txt --seqlen 256

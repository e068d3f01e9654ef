#!/usr/bin/env bash
# Quality beside other quantizers: run.sh MODEL DATA [WORK]; README.md says what is compared.
#   MODEL  a bf16 folder of Hugging Face's layout
#   DATA   the folder of the texts to calibrate on and to judge by
#   WORK   where environments and models are kept (default: build/peers/quality)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
model=$(cd "$1" && pwd) data=$(cd "$2" && pwd) work=${3:-$root/build/peers/quality}
nibble=${NIBBLE:-$root/build/nibble}
texts=("$data/wikitext-2-raw/wiki.train.head1M.raw:2" "$data/calibration/mmlu-dev.txt:1"
       "$data/calibration/python.txt:1")
judges=("wikitext-2-raw/wiki.test.raw 40" "calibration/judge-mmlu.txt 10" "calibration/judge-code.txt 6")
mkdir -p "$work"
cd "$work"
export HF_HUB_OFFLINE=1

python() {  # VENV ARGS...
  local folder=venv-$1
  [[ -e $folder/ready ]] ||
    { python3 -m venv "$folder" && "$folder/bin/pip" install --quiet "$1" && touch "$folder/ready"; }
  "$folder/bin/python" "$here/quality.py" "${@:2}"
}

judge() {  # FOLDER: a line a text
  for text in "${judges[@]}"; do
    "$nibble" eval "$1" --task perplexity --reference "$model" --text "$data/${text% *}" --seqlen 512 \
      --n-segments "${text#* }" --json -q |
      python3 -c 'import json, sys
result = json.load(sys.stdin)["results"][0]
print(*sys.argv[1:], "KL %.4f, top-1 %.4f" % (result["kl_divergence"], result["top1_agreement"]))' "$1" "$text"
  done
}

[[ -e mix.npy ]] || python llmcompressor blocks "$model" mix 32 "${texts[@]}"
for bits in 3 4; do
  [[ -e nibble-$bits ]] ||
    "$nibble" quantize "$model" -o nibble-$bits --algorithm best --w-bit $bits --group-size 64 --head bf16 \
      --n-samples 32 --calib mix.npy
  for method in awq gptq; do
    [[ -e $method-$bits ]] || python llmcompressor llmcompressor $method $bits 64 "$model" mix.npy $method-$bits
  done
  [[ -e autoround-$bits ]] || python auto-round autoround $bits 64 "$model" mix.npy autoround-$bits
done

# llama.cpp: its tools are built as ../build_llama.sh builds llama-bench; LLAMA is the folder they are in.
if [[ -n ${LLAMA:-} ]]; then
  [[ -e model.gguf ]] || "$nibble" export "$model" --to gguf --type bf16 -o model.gguf
  [[ -e mix.imatrix ]] || "$LLAMA/llama-imatrix" -m model.gguf -f mix.txt -c 512 -b 512 --no-ppl -o mix.imatrix
  for type in Q3_K_M Q4_K_M; do
    [[ -e $type-f32.gguf ]] && continue
    "$LLAMA/llama-quantize" --imatrix mix.imatrix model.gguf $type.gguf $type
    "$LLAMA/llama-quantize" --allow-requantize $type.gguf $type-f32.gguf F32  # what its weights are
  done
fi
for found in nibble-? awq-? gptq-? autoround-? Q?_K_M-f32.gguf; do
  [[ ! -e $found ]] || judge "$found"
done

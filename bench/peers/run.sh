#!/usr/bin/env bash
# Measures Nibble beside other engines: run.sh [options]; README.md says what is measured.
#   -n NIBBLE   the command (default: build/nibble)
#   -w WORK     folder for sources, virtual environments and models, about 25 GB with all engines
#               (default: build/peers)
#   -s SHAPE    of the models: llama-3.2-1b or smollm2-135m (default: llama-3.2-1b)
#   -r ROUNDS   rounds (default: 5)
#   -e ENGINES  which, with blanks between (default: "llama.cpp ik_llama.cpp CTranslate2 OpenVINO")
#   -j JOBS     compilations at once (default: 2)
#   -t TORCH    what pip is asked for to have PyTorch, for OpenVINO's export (default: torch)
#   -p          prepare only: build, install and write models, measure nothing
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
nibble=$root/build/nibble work=$root/build/peers rounds=5 jobs=2 prepare_only=false
shape=llama-3.2-1b engines="llama.cpp ik_llama.cpp CTranslate2 OpenVINO" torch=torch
while getopts n:w:s:r:e:j:t:p flag; do
  case $flag in
    n) nibble=$OPTARG ;;
    w) work=$OPTARG ;;
    s) shape=$OPTARG ;;
    r) rounds=$OPTARG ;;
    e) engines=$OPTARG ;;
    j) jobs=$OPTARG ;;
    t) torch=$OPTARG ;;
    p) prepare_only=true ;;
    *) sed -n '2,11s/^# \?//p' "$0" >&2; exit 2 ;;
  esac
done
mkdir -p "$work"
work=$(cd "$work" && pwd)
[[ -x $nibble ]] || { echo "run.sh: no command $nibble: build Nibble first, or name it by -n" >&2; exit 1; }
models=$work/$shape  # all that a shape decides; engines and virtual environments serve every shape
python3 "$here/peers.py" --shape "$shape" write config "$models/config"

# venv NAME PACKAGE...: a virtual environment with those packages, made once.
venv() {
  local folder=$work/venv-$1
  shift
  [[ -e $folder/ready ]] && return
  rm -rf "$folder"
  python3 -m venv "$folder" && "$folder/bin/python" -m pip install --quiet "$@" && touch "$folder/ready"
}

# note_version ENGINE VENV PACKAGE...: what compare prints of an engine, and its sign that it is there.
note_version() {
  local engine=$1 folder=$work/venv-$2
  shift 2
  mkdir -p "$work/$engine"
  "$folder/bin/python" -m pip list --format=freeze 2>/dev/null |
    grep -iE "^($(IFS='|'; echo "$*"))==" | tr '\n' ' ' > "$work/$engine/version"
}

# write_model VENV FORMAT FILE: a model, made once.
write_model() {
  [[ -e $models/$3 ]] ||
    HF_HUB_OFFLINE=1 "$work/venv-$1/bin/python" "$here/peers.py" --shape "$shape" write "$2" "$models/$3"
}

prepare_llama() {  # ENGINE PACKAGE FORMAT...
  local engine=$1 package=$2
  shift 2
  "$here/build_llama.sh" "$package" "$work/$engine" "$jobs" && venv gguf gguf || return
  for format in "$@"; do write_model gguf "$format" "$format.gguf" || return; done
}

prepare_ctranslate2() {
  venv ctranslate2 ctranslate2 numpy && write_model ctranslate2 ctranslate2-int8 ctranslate2-int8 &&
    note_version CTranslate2 ctranslate2 ctranslate2
}

prepare_openvino() {
  # Optimum asks for torchvision, which it does not use here and which fits one build of torch only.
  venv openvino "$torch" optimum-intel nncf openvino openvino-genai &&
    { "$work/venv-openvino/bin/python" -m pip uninstall --quiet --yes torchvision || true; } &&
    write_model openvino openvino-int4 openvino-int4 &&
    write_model openvino openvino-int8 openvino-int8 &&
    note_version OpenVINO openvino openvino openvino-genai nncf
}

for engine in $engines; do
  echo "preparing $engine" >&2
  case $engine in
    llama.cpp) prepare_llama "$engine" llama-cpp-python Q4_0 Q8_0 BF16 ;;
    ik_llama.cpp) prepare_llama "$engine" ik_llama_cpp_python Q4_0 Q8_0 ;;
    CTranslate2) prepare_ctranslate2 ;;
    OpenVINO) prepare_openvino ;;
    *) echo "run.sh: no engine $engine" >&2; exit 2 ;;
  esac || echo "$engine is left out: see the message above" >&2
done
if ! $prepare_only; then
  python3 "$here/peers.py" --shape "$shape" compare --nibble "$nibble" --work "$work" \
    --rounds "$rounds" --engines $engines
fi

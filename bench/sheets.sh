#!/usr/bin/env bash
# Makes docs/sheets.md, the published result sheets beside Nibble: sheets.sh [options]; README.md in
# bench/sheets says what is measured.
#   -n NIBBLE      the command (default: build/nibble)
#   -w WORK        folder for models and results (default: build/sheets)
#   -t TOKENIZERS  folder of the models' tokenizers: llama2, llama3, opt, qwen2 (needed for speed)
#   -m MODELS      which, with blanks between: NAME or NAME:RECIPE, as Llama-3.2-1B:pergrp-g32 (default: all;
#                  "": none)
#   -q MODEL       the small real model whose quality is measured (default: none)
#   -s SEGMENTS    of perplexity, for each length (default: 4, as the sheets'; ten times as many for
#                  the distance)
#   -u MINUTES     begin no measurement after so many (the same command goes on later)
#   -o PAGE        what to write (default: docs/sheets.md)
#   -p             the page only, from what was measured before
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
nibble=$root/build/nibble work=$root/build/sheets page=$root/docs/sheets.md
tokenizers='' models=all quality='' segments=4 minutes=() measure=true
while getopts n:w:t:m:q:s:u:o:p flag; do
  case $flag in
    n) nibble=$OPTARG ;;
    w) work=$OPTARG ;;
    t) tokenizers=$OPTARG ;;
    m) models=$OPTARG ;;
    q) quality=$OPTARG ;;
    s) segments=$OPTARG ;;
    u) minutes=(--minutes "$OPTARG") ;;
    o) page=$OPTARG ;;
    p) measure=false ;;
    *) sed -n '4,16s/^# \?//p' "$0" >&2; exit 2 ;;
  esac
done
[[ -x $nibble ]] || { echo "sheets.sh: no command $nibble: build Nibble first, or name it by -n" >&2; exit 1; }
sheets=(python3 "$here/sheets/sheets.py" --nibble "$nibble" --work "$work" "${minutes[@]}")
if $measure; then
  if [[ -n $models ]]; then
    [[ -d $tokenizers ]] || { echo "sheets.sh: -t must name the folder of tokenizers" >&2; exit 1; }
    "${sheets[@]}" speed --tokenizers "$tokenizers" --models "$models"
  fi
  if [[ -n $quality ]]; then
    "${sheets[@]}" quality --model "$quality" --segments "$segments"
  fi
fi
"${sheets[@]}" page --output "$page"

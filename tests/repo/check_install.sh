#!/usr/bin/env bash
# Installs a build into an empty prefix and builds and runs examples/ against it, as a user would:
# check_install.sh CMAKE BUILD_DIR
set -euo pipefail
cmake=$1
build=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/prefix" >"$work/install.log"
"$work/prefix/bin/nibble" --version

"$cmake" -S "$source/examples" -B "$work/example" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix"
"$cmake" --build "$work/example"
output=$("$work/example/example" "$source/data/stories260K" "Once upon a time")
echo "example: $output"
[ -n "$output" ]

#!/usr/bin/env bash
# Builds dist/report.html from these sources (npm needed). build.sh --check: builds it elsewhere and
# compares; without npm, or where npm gets no packages, it says so and exits with 77 (skipped).
set -euo pipefail
cd "$(dirname "$0")"

if [ "${1:-}" = --check ]; then
  command -v npm >/dev/null || { echo "skipped: no npm"; exit 77; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  cp -r package.json package-lock.json tsconfig.json vite.config.js page.html src "$work"
  (cd "$work" && npm ci --no-audit --no-fund >npm.log 2>&1) || {
    tail -3 "$work/npm.log"
    echo "skipped: npm could not install the packages of package-lock.json"
    exit 77
  }
  (cd "$work" && npm run --silent build >build.log 2>&1) || { cat "$work/build.log"; exit 1; }
  cmp "$work/dist/report.html" dist/report.html || {
    echo "dist/report.html is not what the sources give: run apps/web/report/build.sh"
    exit 1
  }
  size=$(stat -c %s dist/report.html)
  [ "$size" -le 400000 ] || { echo "dist/report.html has $size bytes, more than 400000"; exit 1; }
else
  npm ci --no-audit --no-fund
  npm run build
fi

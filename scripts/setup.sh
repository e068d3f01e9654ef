#!/usr/bin/env bash
# Installs the Debian packages of packages.txt that are missing; does nothing if all are there.
set -euo pipefail
cd "$(dirname "$0")"

mapfile -t wanted < <(grep -v '^#' packages.txt)

have() { command -v "$1" >/dev/null; }

if ! { have dpkg-query && have apt-get; }; then
  echo "setup: not a Debian-like system (no dpkg-query, apt-get); nothing is installed by itself." >&2
  echo "setup: the build needs what Debian calls: ${wanted[*]}" >&2
  have cmake && have ninja && have c++ || exit 1
  exit 0
fi

# dpkg-query fails for names it has never seen; those are missing too.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qx "$package installed" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! have sudo; then
    echo "setup: missing packages, and neither root nor sudo to install them. As root, run:" >&2
    echo "  apt-get update && apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "setup: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
if ! { "${apt[@]}" update >/dev/null &&
       "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null; }; then
  echo "setup: apt-get failed (its message is above); install by hand: ${missing[*]}" >&2
  exit 1
fi

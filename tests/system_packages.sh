#!/usr/bin/env bash
# Install what some tests need and pip cannot bring, as root on Debian: Chromium, Node.js, clang.
# Elsewhere this only says what is missing; the tests that need it then skip.
set -euo pipefail

missing=()
have() { for name in "$@"; do command -v "$name" >/dev/null && return; done; return 1; }
have chromium chromium-browser google-chrome || missing+=(chromium)
have node || missing+=(nodejs)
have clang-{22,21,20,19} || missing+=(clang-19)
[ ${#missing[@]} -eq 0 ] && exit 0

install() { apt-get install -y -qq --no-install-recommends "$1" >/dev/null; }
if [ "$(id -u)" -eq 0 ] && have apt-get; then
    echo "Installing ${missing[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    absent=()
    for package in "${missing[@]}"; do install "$package" || absent+=("$package"); done
    missing=("${absent[@]}")
fi
[ ${#missing[@]} -eq 0 ] ||
    echo "Not installed: ${missing[*]}. The tests that need them will skip."

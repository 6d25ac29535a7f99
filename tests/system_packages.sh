#!/usr/bin/env bash
# Install what some tests need and pip cannot bring: Chromium and Node.js, as root on Debian.
# Elsewhere this only says what is missing; the tests that need it then skip.
set -euo pipefail

missing=()
have() { for name in "$@"; do command -v "$name" >/dev/null && return; done; return 1; }
have chromium chromium-browser google-chrome || missing+=(chromium)
have node || missing+=(nodejs)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && have apt-get; then
    echo "Installing ${missing[*]} ..."
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    then exit 0
    fi
fi
echo "Not installed: ${missing[*]}. The tests that need them will skip."

#!/usr/bin/env bash
# Installs a browser for the tests that click through pages, unless there is
# one: Debian's Chromium, at the version that the Debian release pins. It prints
# the browser's path.
set -euo pipefail

find_browser() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" && return 0
  done
  return 1
}

if ! find_browser; then
  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "browser.sh: no Chromium found; install one (Debian: apt-get install chromium) and try again" >&2
    exit 1
  fi
  echo "tools: installing chromium ..." >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends chromium >&2
  find_browser
fi

#!/bin/sh
# Installs the Debian packages that some tests need. Where it is not root on Debian it installs
# nothing and says which tests will be skipped; a missing package never fails the build by itself.
set -eu
need=""
command -v setpriv >/dev/null 2>&1 || need="$need util-linux"
command -v busybox >/dev/null 2>&1 || need="$need busybox"
command -v chromium >/dev/null 2>&1 || [ -n "${CHROMIUM:-}" ] || need="$need chromium fonts-dejavu-core"
command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need="$need postgresql"
[ -z "$need" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $need
else
    echo "not root on Debian: not installing$need; the tests that need them are skipped with the reason"
fi

#!/bin/sh
# Runs a command as an ordinary user, in a copy of this clone that the user owns:
#
#     as_ordinary_user.sh make test
#
# Needs root, and Debian's python3 where the user cannot run root's. The user (TENURE_TEST_USER, or
# tenure-tests) is made if it does not exist. The copy lies in its home folder; it is made again each
# time, and keeps its .venv. Without root the command runs here.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || exec "$@"
user=${TENURE_TEST_USER:-tenure-tests}
id "$user" >/dev/null 2>&1 || useradd --create-home "$user"
home=$(getent passwd "$user" | cut -d: -f6)
copy=$home/tenure

as_user() {
    setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
        env -u XDG_CACHE_HOME -u XDG_CONFIG_HOME -u XDG_DATA_HOME -u XDG_RUNTIME_DIR \
        HOME="$home" USER="$user" LOGNAME="$user" PYTHON="${python:-}" \
        sh -c 'cd "$1" && shift && exec "$@"' sh "$@"
}

find_python() {
    for python in "${PYTHON:-python3}" /usr/bin/python3; do
        as_user / "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
            2>/dev/null && return 0
    done
    return 1
}

if ! find_python; then
    if command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
    fi
    find_python || { echo "no Python 3.11 or later with venv that $user can run" >&2; exit 1; }
fi

mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
tar -c --exclude='./.venv*' --exclude=__pycache__ --exclude=./.git --exclude=./build --exclude='./.*_cache' \
    --exclude=./.hypothesis . | tar -x -C "$copy"
chown -R "$user:" "$copy"
echo "--- as $user in $copy, by $python: $*"
as_user "$copy" "$@"

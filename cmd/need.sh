# need PACKAGE ... - installs the Debian packages that are missing; sourced by the scripts.
#
# Nothing is touched when all are there. Otherwise it takes root, or sudo. Returns 1
# with one line on standard error when they can not be installed.

# shellcheck shell=sh

need_missing()
{
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf '%s ' "$package"
    done
}

need_as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    elif [ -t 0 ]; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

need()
{
    missing=$(need_missing "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "missing: $missing(no apt-get here: please install their equivalents)" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "missing: $missing(not root and no sudo; run as root: apt-get install $missing)" >&2
        return 1
    fi
    echo "installing: $missing" >&2
    # The words of $missing are package names. A list that is absent or old is fetched first.
    # shellcheck disable=SC2086
    if ! need_as_root apt-get install -y -q --no-install-recommends $missing </dev/null >&2; then
        need_as_root apt-get update -q </dev/null >&2 || return 1
        need_as_root apt-get install -y -q --no-install-recommends $missing </dev/null >&2 || {
            echo "could not install: $missing" >&2
            return 1
        }
    fi
}

# What the programs are built from.
# shellcheck disable=SC2034
BUILD_PACKAGES="gcc libc6-dev make cmake pkg-config libuv1-dev libinih-dev libjansson-dev node-llhttp libhiredis-dev"

#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools/setup.sh run   what `make quickstart` needs: Debian packages, .venv, the project in it
# tools/setup.sh dev   the same and the tools of `make test` and `make check`
#
# Made for a fresh Debian 12 as root; installs only what is missing, so it may be called before everything else.
set -eu
cd "$(dirname "$0")/.."
exec </dev/null

mode=${1:-run}
case $mode in
    run) groups='run' extras='' satisfied_by='run dev' ;;
    dev) groups='run dev' extras='[dev]' satisfied_by='dev' ;;
    *) echo "usage: $0 [run|dev]" >&2; exit 2 ;;
esac

# The stamps live inside .venv: deleting it is the way to start afresh.
lists='tools/apt.txt tools/setup.sh pyproject.toml collections/ansible_collections/dos/vm/galaxy.yml'
wanted=$({ echo "$PWD"; cat $lists; } | sha256sum)

is_warm() {
    local each
    for each in $satisfied_by; do
        [ "$(cat ".venv/.setup-$each" 2>/dev/null)" = "$wanted" ] && return
    done
    return 1
}

is_warm && exit

mkdir -p .cache
exec 9>.cache/setup.lock
flock 9       # `make test` beside `make check`: the second waits and finds everything there
is_warm && exit

missing() {   # the packages of the given groups that are not installed
    local group
    for group; do
        awk -v want="[$group]" '/^\[/ { inside = ($1 == want); next } inside { sub(/#.*/, ""); print }' tools/apt.txt
    done | tr -s ' ' '\n' | grep . | while read -r package; do
        [ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

took() {      # took "what" <start>
    printf '%-10s %3d s\n' "$1:" $((SECONDS - $2))
}

forbid_service_starts() {
    # Without an init system the packages' start scripts fail or start daemons nobody stops; libvirtd is started later, by
    # whoever needs it. A policy that is already there belongs to the machine and stays.
    [ ! -d /run/systemd/system ] && [ ! -e /usr/sbin/policy-rc.d ] || return 0
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}

quietly() {   # quietly <log> command…: the output only matters when it fails
    local log=$1; shift
    "$@" >"$log" 2>&1 || { echo "$* failed:" >&2; tail -n 40 "$log" >&2; return 1; }
}

apt_install() {
    # 300 s of patience: a freshly booted machine often holds the lock for its own updates.
    DEBIAN_FRONTEND=noninteractive quietly .cache/setup-apt.log \
        apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@"
}

pip_install() {
    # A venv remembers where it was made; one that came along with a moved or copied tree has dead scripts.
    if ! grep -qsF "$PWD/.venv" .venv/bin/activate || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        # Debian's own interpreter, because python3-libvirt and python3-lxml are built for that one.
        quietly .cache/setup-pip.log /usr/bin/python3 -m venv --clear --system-site-packages .venv
    fi
    # Compiling every file of every package costs more than compiling the few that are imported, when they are.
    quietly .cache/setup-pip.log .venv/bin/python -m pip install --no-compile --disable-pip-version-check \
        --root-user-action=ignore -e ".$extras"
}

first=$(missing venv)
rest=$(missing $groups)
if [ -n "$first$rest" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "run once as root, or install:" $first $rest >&2
        exit 1
    fi
    forbid_service_starts
    start=$SECONDS
    quietly .cache/setup-apt.log apt-get -o DPkg::Lock::Timeout=300 update
    took lists "$start"
fi
if [ -n "$first" ]; then
    start=$SECONDS
    apt_install $first
    took python "$start"
fi

# pip downloads while apt unpacks: neither waits for the other once python3-venv is there.
start=$SECONDS
{ pip_install; took venv "$start"; } &
pip=$!
if [ -n "$rest" ]; then
    apt_install $rest || { wait $pip; exit 1; }
    took packages "$start"
fi
wait $pip
for each in run $mode; do
    echo "$wanted" >".venv/.setup-$each"
done

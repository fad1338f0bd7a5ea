#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ansible-test sanity of the collection, without containers and with no index but the one pip is configured for.
# tools/sanity.sh               the tests below
# tools/sanity.sh --test NAME   only that one
#
# What it leaves to others, because they run over the whole tree and know our own rules:
#   pep8, pylint        ruff and mypy             yamllint   yamllint with .yamllint
#   changelog           antsibull-changelog       pslint     there is no PowerShell here
# and what does not hold for us:
#   no-assert           an assert tells mypy and the reader what is known here; it never checks input
#   no-smart-quotes     labels and messages may be in any script
set -eu
cd "$(dirname "$0")/.."
top=$PWD
exec </dev/null

# validate-modules   documentation and argument_spec agree
# import             every plugin and library file imports in an environment that has neither libvirt nor lxml
# compile            … and is syntax for the oldest Python we promise
# ansible-doc        the documentation can be read
# runtime-metadata   meta/runtime.yml
# The rest are cheap greps for things that break only on somebody else's machine.
tests='validate-modules import compile ansible-doc runtime-metadata action-plugin-docs empty-init line-endings
    no-get-exception no-illegal-filenames shebang symlinks use-argspec-type-path'

select=()
if [ $# = 0 ]; then
    for each in $tests; do select+=(--test "$each"); done
fi

# ansible-test keeps its environments under ~/.ansible/test. A home of its own keeps the stand-in below out of everybody
# else's, and `make clean` finds it. pip still has to find the configuration of the person who runs this.
for each in "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"; do
    [ ! -f "$each" ] || pip_conf=$each
done
export HOME=$top/.cache/ansible-test
if [ -n "${pip_conf:-}" ]; then
    mkdir -p "$HOME/.config/pip"
    cp "$pip_conf" "$HOME/.config/pip/pip.conf"
fi

# Each of its environments begins with a pip that ansible-test would download. The one Python carries is good enough:
# this file stands where the download would be cached, under the name of the version that is asked for.
cache=$HOME/.ansible/test/cache
if [ ! -d "$cache" ]; then
    mkdir -p "$cache"
    version=$("$top/.venv/bin/python" -c '
from types import SimpleNamespace
from ansible_test._internal.python_requirements import get_venv_packages
print(get_venv_packages(SimpleNamespace(version="3.11"))["pip"].replace(".", "_"))')
    cat >"$cache/get_pip_$version.py" <<'PYTHON'
import ensurepip
import subprocess
import sys

ensurepip.bootstrap(default_pip=True)
packages = [word for word in sys.argv[1:] if not word.startswith("-") and not word.startswith("pip==")]
if packages:
    subprocess.check_call([sys.executable, "-m", "pip", "install", *packages])
PYTHON
fi

export PATH=$top/.venv/bin:$PATH
cd collections/ansible_collections/dos/vm
exec ansible-test sanity --color no --truncate 0 --python 3.11 "${select[@]}" "$@"

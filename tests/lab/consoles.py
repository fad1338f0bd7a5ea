# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell that a guest has on its first serial port, from the host that the guest runs on."""

from __future__ import annotations

from namespaces.host import Host

# Of what is typed before there is a shell some is lost, so it is asked until it answers. The port is held open to the end:
# QEMU reads from nobody who has hung up.
TYPED = r"""
exec 3<>"$(virsh ttyconsole "$0")"
hears() { timeout --foreground "$2" sed "/$1/q" <&3 >/dev/null; }
until printf '\necho here-$((40 + 2))\n' >&3; hears here-42 5; do :; done
printf '\n%s &\necho begun-$((40 + 2))\n' "$1" >&3
hears begun-42 60
"""


def types(host: Host, vm: str, command: str) -> None:
    """Have the shell of a guest begin something, which is not waited for."""
    host.run("sh", "-c", TYPED, vm, command)

# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.capacity`: how many more machines of a sort fit, and what there is too little of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.more import More, more_like, more_of_size
from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.types import ByteSize
from ansible_collections.dos.vm.plugins.plugin_utils.placing import read_situation
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display

display = Display()
MOST_SHOWN = 20  # hosts


class ActionModule(ActionBase):
    """Returns `fits`, the number on each of the `hosts`, and `limits`: how many hosts each filter makes refuse one more."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"like", "size"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            found, what = self._count(read_situation(self._templar, task_vars or {}))
        except DosVmError as error:
            return {**result, **refused(error)}
        _show(found, what)
        return {
            **result,
            "changed": False,
            "fits": found.fits,
            "quota": found.quota,
            "hosts": dict(found.hosts.hosts),
            "limits": dict(found.hosts.limits),
        }

    def _count(self, held: Situation) -> tuple[More, str]:
        like, size = self._task.args.get("like"), self._task.args.get("size")
        if bool(like) == bool(size):
            raise DeclarationError.at("dos_like", "write dos_like, an instance, or dos_size, with memory and vcpus")
        if like:
            return more_like(held, str(like)), f"like those of {like}"
        memory, vcpus = _size(size)
        return more_of_size(held, memory=memory, vcpus=vcpus), f"of {memory} and {vcpus} vCPUs"


def _size(size: object) -> tuple[ByteSize, int]:
    try:
        if isinstance(size, Mapping) and set(size) <= {"memory", "vcpus"}:
            return ByteSize(str(size["memory"])), int(size.get("vcpus", 1))
    except (KeyError, ValueError) as wrong:
        raise DeclarationError.at("dos_size", f"{wrong}; write it like {{memory: 2 GiB, vcpus: 2}}") from None
    raise DeclarationError.at("dos_size", "is not a size, write it like {memory: 2 GiB, vcpus: 2}")


def _show(found: More, what: str) -> None:
    display.display(f"{found.fits} more machines {what} fit", color="green" if found.fits else "red")
    if found.quota is not None:
        display.display(f"  the hosts have room for {found.hosts.fits}, the quota of the project for {found.quota}")
    most_first = sorted(found.hosts.hosts.items(), key=lambda held: (-held[1], held[0]))
    for host, number in most_first[:MOST_SHOWN]:
        display.display(f"  {number:>6}  {host}")
    if len(most_first) > MOST_SHOWN:
        rest = sum(number for _, number in most_first[MOST_SHOWN:])
        display.display(f"  {rest:>6}  on {len(most_first) - MOST_SHOWN} more hosts")
    for name, number in found.hosts.limits.items():
        display.display(f"  one more is refused by {name} on {number} host{'' if number == 1 else 's'}", color="yellow")

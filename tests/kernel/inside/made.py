# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is to hold, made so by this kernel's libvirt."""

from __future__ import annotations

from typing import Any

from dosvm.apply import Outcome, converge
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.decode import decode
from dosvm.model.slice import Permission, Slice


class Host:
    """This kernel's libvirt, and what is to be on it."""

    def __init__(self) -> None:
        self.hypervisor = LibvirtHypervisor()
        self.secrets: dict[str, bytes] = {}

    def converge(self, *, allow: dict[str, Any] | None = None, dry_run: bool = False, **held: Any) -> Outcome:
        slice_ = decode(Slice, {"site": "test", **held})
        permission = decode(Permission, allow or {})
        return converge(slice_, self.hypervisor, permission=permission, secrets=self.secrets, dry_run=dry_run)

    def made(self, **held: Any) -> Outcome:
        """Converged without a failure; and again, with nothing to do."""
        outcome = self.converge(**held)
        assert outcome.failures == ()
        held.pop("allow", None)
        assert not self.converge(**held).changed
        return outcome

    def holds(self) -> dict[str, Any]:
        return {str(address): seen for address, seen in self.hypervisor.observe("test").items()}


def plan_of(outcome: Outcome, address: str) -> Any:
    (found,) = [plan for plan in outcome.plans if str(plan.address) == address]
    return found

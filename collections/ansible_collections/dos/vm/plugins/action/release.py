# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.release`: a person confirms that hosts run nothing any more, and what was placed on them may be placed anew.

Everything that can still be seen of a host is shown first, and a host that answers is refused. What frees its VMs is the
evidence that is written then: it is bound to the installed system of that host, and ends when that answers again.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.memory import Placement
from ansible_collections.dos.vm.plugins.module_utils.errors import (
    DeclarationError,
    DosVmError,
    Problem,
    StoreError,
    meant,
)
from ansible_collections.dos.vm.plugins.module_utils.model.types import Name
from ansible_collections.dos.vm.plugins.module_utils.store.evidence import Evidence
from ansible_collections.dos.vm.plugins.module_utils.store.hosts import HostRecord
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.signs_of_life import answers_ping
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS, GROUP
from ansible_collections.dos.vm.plugins.plugin_utils.store import actor, opened, url_of

ROUNDS = 5
ADDRESSES = ("ansible_host", "dos_address")
SPEC = {
    "hosts": {"type": "raw", "required": True},
    "confirm": {"type": "raw", "default": []},
    "reason": {"default": ""},
    "site": {"default": "dos"},
}
display = Display()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All that is known of a host that a person takes for dead."""

    host: str
    record: HostRecord | None
    placements: Mapping[str, Placement]
    seen: Mapping[str, str]  # VMs of it that a host which answers has, and where
    boot: str | None

    @property
    def volumes(self) -> dict[str, list[str]]:
        """What dos.vm knew of there: a copy elsewhere is not made empty."""
        known = (self.record.facts or {}).get("known_volumes") if self.record else None
        return {"volumes": list(known)} if known else {}

    def lines(self, now: float) -> Iterator[str]:
        last = self.record.answered if self.record else None
        ago = "when it answered last is not known" if last is None else f"it last answered {_duration(now - last)} ago"
        yield f"host {self.host}: {ago}"
        yield f"  VMs placed on it: {', '.join(sorted(self.placements)) or 'none'}"
        for vm, where in sorted(self.seen.items()):
            yield f"  {vm} {where}"


class ActionModule(ActionBase):
    """Returns the VMs that were `released`, by host."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset(SPEC)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result, variables = super().run(tmp, task_vars), task_vars or {}
        _, arguments = self.validate_argument_spec(SPEC)
        names = list(dict.fromkeys(_words(arguments["hosts"])))
        write = not self._task.check_mode
        try:
            site = Name(arguments["site"])
            url = url_of(self._templar, variables, site, variables["ansible_play_hosts_all"])
            who = actor(self._templar, variables)
            with opened(url, site, write=write) as store:
                if store is None:
                    text = f"the site {site} has no store, so no VM is placed on a host that is gone: take it out of the inventory"
                    raise DeclarationError.at("dos_release", text)
                sights = _seen(store, names, variables)
                for line in [line for sight in sights for line in sight.lines(store.now())]:
                    display.display(line, color="yellow")
                if write:
                    _confirmed(sights, _words(arguments["confirm"]), arguments["reason"])
                    for sight in sights:
                        _release(store, sight, who, arguments["reason"])
        except (DosVmError, ValueError) as error:
            return {**result, "failed": True, "msg": str(error)}
        released = {sight.host: sorted(sight.placements) for sight in sights}
        listed = "; ".join(f"{host}: {', '.join(vms) or 'nothing'}" for host, vms in released.items())
        text = f"{'released' if write else 'would release'} {listed}"
        display.display(text, color="yellow")
        return {**result, "changed": write, "released": released, "msg": text}


def _words(written: Any) -> list[str]:
    """`a,b` as well as a list."""
    return written.replace(",", " ").split() if isinstance(written, str) else [str(word) for word in written or ()]


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(max(0, seconds))))


def _seen(store: Store, names: Iterable[str], variables: Mapping[str, Any]) -> list[Sight]:
    """What is known of the hosts. Raises with every one that is unknown, was not asked, or answers."""
    placements, records = store.placements.all(), {record.name: record for record in store.hosts.all()}
    inventory = [*variables.get("groups", {}).get(GROUP, ()), *variables["ansible_play_hosts_all"]]
    known = dict.fromkeys([*inventory, *(str(held.host) for held in placements.values() if held.host), *records])
    boots = store.loads.boots()
    asked = {host: variables["hostvars"][host] for host in dict.fromkeys(inventory)}
    told = {host: held.get(FACTS) for host, held in asked.items()}
    problems, sights = [], []
    for host in names:
        record = records.get(host)
        why = _unknown(host, known) or _alive(host, record, told) or _pinged(host, asked.get(host, {}), told.get(host))
        if why:
            problems.append(Problem("dos_release", why))
        here = {vm: held for vm, held in placements.items() if held.host == host}
        sights.append(
            Sight(
                host=host,
                record=record,
                placements=here,
                seen=dict(_elsewhere(here, told)),
                boot=boots.get(host),
            )
        )
    if problems:
        raise DeclarationError(problems)
    return sights


def _unknown(host: str, known: Iterable[str]) -> str:
    if host in known:
        return ""
    hint = meant(host, known, "write the name of a host of the inventory, or of one that VMs were placed on")
    return f"no host {host!r}, {hint}"


def _alive(host: str, record: HostRecord | None, told: Mapping[str, Any]) -> str:
    """Why a host is not dead: it answers, by its own name or by another. Another system under its name is not it."""
    for name, held in told.items():
        if held is None or held.get("unreachable") or held.get("skipped"):
            continue
        identity = (held.get("facts") or {}).get("identity")
        if record is not None and identity == record.uuid:
            called = "" if name == host else f" as {name}"
            return f"host {host} answers{called}: it is not dead; dos.vm.drain empties a host that is alive"
        if name == host and (record is None or not identity):
            said = f", though not its libvirt ({held.get('msg')})" if held.get("failed") else ""
            return f"host {host} answers{said}: its VMs may run; dos.vm.drain empties a host that is alive"
    if host in told and told[host] is None:
        return f"host {host} was not asked, so it may answer: run this without --limit and dos_limit"
    return ""


def _pinged(host: str, variables: Mapping[str, Any], told: Mapping[str, Any] | None) -> str:
    """Why a host that Ansible does not reach is not dead all the same: its VMs run on when its sshd does not."""
    address = next((str(variables[name]) for name in ADDRESSES if variables.get(name)), None)
    if told is None or not told.get("unreachable") or address is None or not answers_ping(address):
        return ""
    return (
        f"host {host} is unreachable for Ansible, but {address} answers ping, so its VMs probably run: switch it off first;"
        " if the address is another machine's by now, take the host out of the inventory"
    )


def _elsewhere(placements: Iterable[str], told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The VMs among these that hosts which answer have."""
    for host, held in told.items():
        for domain in (held or {}).get("domains", ()):
            if domain["name"] in placements and domain["ours"]:
                yield domain["name"], f"{'runs' if domain['active'] else 'is defined'} on {host}"


def _confirmed(sights: Iterable[Sight], confirm: list[str], reason: str) -> None:
    """Raises where a person has not named exactly these hosts, and how it is known that they run nothing."""
    names = [sight.host for sight in sights]
    listed, problems = ",".join(names), []
    if sorted(confirm) != sorted(names):
        vms = sorted(vm for sight in sights for vm in sight.placements)
        what = f"{', '.join(vms)} may then start elsewhere" if vms else "no VM was placed there"
        text = f"if you know that {' and '.join(names)} run{'s' if len(names) == 1 else ''} nothing any more ({what}),"
        problems.append(Problem("dos_confirm", f"{text} confirm with -e dos_confirm={listed}"))
    if not reason.strip():
        problems.append(Problem("dos_reason", "is not given, write how that is known: -e \"dos_reason='unplugged'\""))
    if problems:
        raise DeclarationError(problems)


def _release(store: Store, sight: Sight, who: str, reason: str) -> None:
    """The evidence and what it frees, in one transaction."""
    for _ in range(ROUNDS):
        held, now = store.placements.all(), store.now()
        evidence = Evidence(
            host=sight.host,
            identity=sight.record.uuid if sight.record else None,
            boot=sight.boot,
            kind="confirmation",
            at=now,
            actor=who,
            detail={"reason": reason, "vms": sorted(sight.placements), **sight.volumes},
        )
        free = [
            replace(one, host=None, epoch=one.epoch + 1, seen=False, left=one.left or one.host)
            for one in held.values()
            if one.host == sight.host
        ]
        unreachable = frozenset([sight.host])
        if not store.placements.claim(held, free, at=now, actor=who, evidence=evidence, unreachable=unreachable):
            if sight.record is not None:
                store.hosts.forget([sight.record.uuid])
            return
    raise StoreError(
        f"release {sight.host}", "others change its placements again and again; run this again", retryable=True
    )

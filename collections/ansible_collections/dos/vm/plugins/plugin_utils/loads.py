# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy hosts are, from what they told, and as rows of a table (HOST-03 … HOST-07)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.states import HostState
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError
from ansible_collections.dos.vm.plugins.module_utils.model.types import ByteSize
from ansible_collections.dos.vm.plugins.module_utils.placement.room import Room
from ansible_collections.dos.vm.plugins.module_utils.site.monitoring import Monitoring
from ansible_collections.dos.vm.plugins.module_utils.store.hosts import HostRecord
from ansible_collections.dos.vm.plugins.module_utils.store.loads import Load, Moment
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS

COLUMNS = {
    "name": "HOST",
    "state": "STATE",
    "cpus": "CPUS",
    "memory": "MEMORY",
    "max_vcpus": "MAX VCPUS",
    "max_memory": "MAX MEMORY",
    "machines": "MACHINES",
    "cpu_load": "CPU %",
    "memory_load": "MEMORY %",
    "disk_load": "DISK %",
    "network_load": "NETWORK MB/S",
}
HISTORY = {
    "host": "HOST",
    "time": "TIME",
    "cpu": "CPU %",
    "memory": "MEMORY %",
    "disk": "DISK %",
    "network": "NETWORK MB/S",
}


def loads(states: Mapping[str, HostState], variables: Mapping[str, Any], *, at: float) -> Iterator[Load]:
    """How busy the hosts are that answered. Of its pools the fullest counts: several may lie on one file system."""
    for host, state in states.items():
        facts = state.facts
        used = facts.memory - (facts.available_memory or facts.free_memory)
        pools = [
            100 - int(100 * int(pool["available"]) / int(pool["capacity"]))
            for pool in variables["hostvars"][host][FACTS]["pools"]
            if int(pool.get("capacity") or 0) and pool.get("available") not in (None, "")
        ]
        yield Load(
            host=str(host),
            at=at,
            cpu=min(100, facts.load),  # more would wait for processors than there are
            memory=int(100 * used / facts.memory),
            disk=max(pools, default=None),
            traffic=facts.traffic,
            boot=facts.boot or None,
        )


def rows(
    rooms: Iterable[Room],
    states: Mapping[str, HostState],
    records: Mapping[str, HostRecord],
    moments: Mapping[str, Moment],
    how: Monitoring,
    *,
    at: float,
) -> Iterator[dict[str, Any]]:
    """A row for every host: what it told now, or when it last answered."""
    for room in rooms:
        told, record, moment = states.get(room.host), records.get(room.host), moments.get(room.host)
        facts: Mapping[str, Any] = (record.facts if record else None) or {}
        memory = told.facts.memory if told else facts.get("memory")
        yield {
            "name": str(room.host),
            "state": _state(told, record, how, at) if room.asked else "not asked",
            "cpu_model": told.facts.cpu_model if told else facts.get("cpu_model"),
            "arch": told.facts.arch if told else facts.get("arch"),
            "uuid": told.facts.identity if told else record.uuid if record else None,
            "kvm": told.facts.kvm if told else facts.get("kvm"),
            "libvirt": told.facts.libvirt if told else facts.get("libvirt"),
            "hypervisor": told.facts.hypervisor if told else facts.get("hypervisor"),
            "labels": {str(name): str(value) for name, value in room.labels.items()},
            "cpus": told.facts.cpus if told else facts.get("cpus"),
            "memory": None if memory is None else _whole(ByteSize(memory)),  # a record has it as people write it
            "max_vcpus": room.vcpus,
            "max_memory": _whole(room.memory) if told else None,
            "machines": sum(told.runs(vm) for vm in told.domains) if told else None,
            **_busy(moment if told else None),
        }


def _whole(size: int) -> str:
    """As people say it: in GiB where there are some, and in MiB."""
    unit = 2**30 if size >= 10 * 2**30 else 2**20
    return str(ByteSize(round(size / unit) * unit))


def details(row: Mapping[str, Any]) -> Iterator[str]:
    """What a table of hosts has no room for (HOST-04)."""
    yield f"  identity {row['uuid'] or '-'}, {row['arch'] or '-'}, {row['cpu_model'] or 'a processor that libvirt has no name for'}"
    yield f"  {'KVM' if row['kvm'] else 'no KVM'}, libvirt {row['libvirt'] or '-'}, QEMU {row['hypervisor'] or '-'}"
    if row["labels"]:
        yield f"  {', '.join(f'{name}: {value}' for name, value in sorted(row['labels'].items()))}"


def _busy(moment: Moment | None) -> dict[str, Any]:
    if moment is None:
        return dict.fromkeys(("cpu_load", "memory_load", "disk_load", "network_load"))
    load = moment.load
    return {"cpu_load": load.cpu, "memory_load": load.memory, "disk_load": load.disk, "network_load": rate(moment)}


def rate(moment: Moment) -> float | None:
    """Megabytes a second."""
    return None if moment.network is None else round(moment.network / 1e6, 3)


def _state(told: HostState | None, record: HostRecord | None, how: Monitoring, at: float) -> str:
    """HOST-11: one that has missed too many looks is called stopped. Nothing about a disk follows from it."""
    if told is not None:
        return f"in maintenance: {told.facts.maintenance}" if told.facts.maintenance else "running"
    if record is None or record.answered is None:
        return "has never answered"
    age = at - record.answered
    word = "stopped" if age > how.missed * how.sample else "no answer"
    return f"{word}, last one {datetime.timedelta(seconds=int(age))} ago"


def history(moments: Iterable[Moment]) -> list[dict[str, Any]]:
    """A row for each moment (HOST-06)."""
    return [
        {
            "host": moment.load.host,
            "at": moment.load.at,
            "time": datetime.datetime.fromtimestamp(moment.load.at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "cpu": moment.load.cpu,
            "memory": moment.load.memory,
            "disk": moment.load.disk,
            "network": rate(moment),
        }
        for moment in moments
    ]


def moment_of(name: str, text: object) -> float | None:
    """A date, or a date and time, in UTC unless it says otherwise; seconds since 1970."""
    if text in (None, ""):
        return None
    try:
        found = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        raise DeclarationError.at(name, f"{text!r} is no time, write 2026-11-21 or 2026-11-21T14:30:00+01:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()

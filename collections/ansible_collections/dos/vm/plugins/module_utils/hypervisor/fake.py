# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor in memory, for laws that need thousands of runs. It answers in libvirt's spelling, and refuses what it refuses.

Files are apart from what libvirt knows of them, as on a host: a pool that is undefined leaves its volumes in its directory,
and the pool that is defined over that directory next has them again.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import singledispatchmethod
from itertools import count
from typing import TYPE_CHECKING

from ..errors import HypervisorError, InternalError, Unanswered, VolumeExists
from ..model.address import Address, KindName, own_uuid
from ..model.host import HostFacts, StoreState
from ..model.types import ByteSize
from ..plan.action import (
    Action,
    AttachDevice,
    Build,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    Find,
    Inject,
    ReplaceVolume,
    Replug,
    ResizeVolume,
    Restart,
    SetAutostart,
    SetMemory,
    SetSecretValue,
    SetVcpus,
    Start,
    Stop,
    Undefine,
    UpdateDevice,
    UpdateNetwork,
    WriteSeed,
)
from ..plan.devices import Device
from ..plan.plan import Observed
from ..xml.common import is_of
from ..xml.identity import device_identity
from . import fake_definitions as definitions
from . import fake_domains as domains
from . import fake_kept
from . import fake_networks as networks
from .fake_objects import Held, Objects
from .fake_refusals import (
    INTERNAL,
    INVALID,
    MISSING,
    OPERATION_FAILED,
    SCHEMA,
    SYSTEM,
    VOLUME_EXISTS,
    refuse,
)
from .seeds import resolved, seed_of
from .storage import BESIDE, idle_volumes, named
from .values import value_of, with_secrets

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# What devices are when a pool has been built on them.
MADE: dict[str, Callable[[str, Element], Device]] = {
    "logical": lambda path, pool: Device(path, holds=("LVM2_member",), group=pool.findtext("name") or ""),
    "disk": lambda path, pool: Device(path, holds=("gpt",), table=pool.xpath("string(source/format/@type)")),
}


class Killed(BaseException):
    """The run was killed; like `KeyboardInterrupt` no error, so nothing may catch it on the way."""


class FakeHypervisor(Objects):
    """Implements `protocol.Hypervisor`.

    `fail_after=N` refuses the action after the first N, once; `kill_after=N` raises `Killed` when the Nth is done, and
    `kill_within=N` in the middle of it, where it has one. `files`
    are those the host has besides: capacity in bytes by path. `deaf` guests let go of nothing. `reads` and `writes` count calls, refused ones too.
    """

    def __init__(
        self,
        *,
        fail_after: int | None = None,
        kill_after: int | None = None,
        kill_within: int | None = None,
        files: Mapping[str, int] | None = None,
        seed: int = 0,
        deaf: bool = False,
        blocks: Mapping[str, Device] | None = None,
        offered: Iterable[str] = (),
    ) -> None:
        super().__init__(files or {})
        self.deaf = deaf
        self.blocks = dict(blocks or {})  # devices that are not blank, by path
        self.offered = frozenset(offered)  # LUNs of every target
        self.fail_after, self.kill_after, self.kill_within = fail_after, kill_after, kill_within
        self.reads = self.writes = 0
        self.performed: list[Action] = []
        self.kept = fake_kept.FakeKept()
        self._chance = definitions.Chance(seed)
        self._numbers = count(1)
        self._locked = False
        self.noted: set[str] = set()  # volumes that runs made or found
        self.stores: dict[str, StoreState] = {}
        self.unmounted: dict[str, str] = {}  # mount points of file systems that pools were on, and that are not mounted

    # Reading

    def facts(self) -> HostFacts:
        self.reads += 1
        return HostFacts(
            hostname="fake",
            uuid="c0ffee00-0000-4000-8000-000000000001",
            arch="x86_64",
            cpus=8,
            memory=ByteSize("32 GiB"),
            free_memory=ByteSize("24 GiB"),
            kvm=False,
            libvirt=9000000,
            hypervisor=7002022,
            emulators=dict(domains.EMULATORS),
            machines=dict(domains.MACHINES),
            links=dict(fake_kept.LINKS),
            known_volumes=tuple(sorted(self.noted)),
            unmounted=self.unmounted or None,
            stores=dict(self.stores) or None,
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        if self._locked:
            raise HypervisorError("lock the host", "another run of dos.vm holds it")
        self._locked = True
        try:
            yield
        finally:
            self._locked = False

    def close(self) -> None:
        """Nothing to let go of."""

    def observe(self, site: str, volumes: Iterable[str] = ()) -> dict[Address, Observed]:
        """Copies, so that nobody changes the host by changing what was seen."""
        self.reads += 1
        self.fresh = self._find_files(volumes)
        seen = [self._seen(address, held, site) for address, held in self.objects.items()]
        seen += [volume for pool in seen if pool.address.kind == "pool" for volume in self._seen_volumes(pool)]
        wanted = {*named(held for held in seen if held.address.kind == "domain"), *volumes}
        for pool in [held for held in seen if "files" in held.info]:
            directory = pool.xml.findtext("target/path")
            files = [posixpath.basename(path) for path in self.files if posixpath.dirname(path) == directory]
            seen += idle_volumes(pool, files, wanted)
        return {held.address: held for held in [*seen, *self.kept.observe(site)]}

    def refresh(self, pool: Address) -> None:
        self._refresh(self.objects[pool].xml.findtext("target/path") or "")

    def _seen(self, address: Address, held: Held, site: str) -> Observed:
        info = {}
        if address.kind == "domain":
            info = {"state": "running" if held.active else "saved" if held.saved is not None else "shut off"}
            info |= self._chains(held)
            info |= {"seed": path} if (path := seed_of(held.xml)) in self.files and path else {}
        if address.kind == "secret":
            info = {"description": held.xml.findtext("description") or "", "uuid": held.xml.findtext("uuid") or ""}
        if address.kind == "pool" and not held.active and held.xml.get("type") == "dir":
            info = {"files": "seen"}
        live = deepcopy(held.live)
        if live is not None and address.kind == "network":
            networks.count_connections(live, len(list(self._plugged(address.name))))
        return Observed(
            address=address,
            xml=deepcopy(held.xml),
            live=live,
            saved=deepcopy(held.saved),
            active=held.active,
            autostart=held.autostart,
            persistent=held.persistent,
            ours=_is_ours(address, held.xml, site),
            info=info,
        )

    def _chains(self, held: Held) -> dict[str, str]:
        """What the files of a domain's disks are layered over, as a host reads it."""
        trees = (held.xml,) if held.live is None else (held.xml, held.live)
        paths = {source.get("file", "") for tree in trees for source in tree.iterfind("devices/disk/source[@file]")}
        chains = {path: [path, *self._below(path)] for path in paths}
        return {f"chain of {path}": "\n".join(files) for path, files in chains.items() if len(files) > 1}

    def _below(self, path: str) -> Iterator[str]:
        while path in self.files and (path := self.files[path].findtext("backingStore/path") or ""):
            yield path

    def _seen_volumes(self, pool: Observed) -> Iterator[Observed]:
        directory = pool.xml.findtext("target/path")
        for path, xml in self.files.items():
            if pool.active and posixpath.dirname(path) == directory and path in self.known:
                address = Address("volume", f"{pool.address.name}/{posixpath.basename(path)}")
                info = {"path": path, **{name: xml.findtext(name) or "" for name in ("capacity", "allocation")}}
                info |= {"fresh": "yes"} if path in self.fresh else {}
                yield Observed(address=address, xml=deepcopy(xml), active=True, ours=pool.ours, info=info)

    def _plugged(self, network: str) -> Iterator[Element]:
        for held in self.objects.values():
            if held.live is not None and held.live.tag == "domain":
                yield from held.live.iterfind(f"devices/interface/source[@network='{network}']")

    def devices(self, paths: tuple[str, ...]) -> dict[str, Device]:
        self.reads += 1
        return {path: found for path in paths if (found := self.blocks.get(path, Device(path))).found}

    # Writing

    def note_store(self, site: str, state: StoreState) -> None:
        self.stores[site] = state

    def note_volumes(self, volumes: Collection[str], moved: Collection[str] = ()) -> None:
        self.noted = set(volumes)
        self.unmounted = {pool: mount for pool, mount in self.unmounted.items() if pool not in moved}

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        self.writes += 1
        if self.fail_after is not None and self.writes == self.fail_after + 1:
            raise HypervisorError(f"{action.verb} {action.address}", "the host failed, as it was told to", SYSTEM)
        if action.address.kind in fake_kept.KINDS:
            self.kept.perform(action)
        else:
            self._perform(action, secrets)
        self.performed.append(action)
        if self.kill_after is not None and self.writes == self.kill_after:
            raise Killed(f"after {action}")

    @singledispatchmethod
    def _perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        raise InternalError(f"nothing performs {type(action).__name__}")

    @_perform.register
    def _define(self, action: Define, secrets: Mapping[str, bytes]) -> None:
        address = action.address
        text = with_secrets(action.xml, secrets) if address.kind == "domain" else action.xml
        before = self.objects.get(address)
        try:
            xml = self._completed(address.kind, definitions.parse(text))
        except definitions.NotInSchemaError as unknown:
            refuse(action, f"XML document failed to validate against schema: {unknown}", SCHEMA)
        self._refuse_clash(action, xml, before)
        if before is None:
            self.objects[address] = Held(xml, active=address.kind == "nwfilter")
        else:
            before.xml, before.persistent = xml, True

    def _completed(self, kind: KindName, xml: Element) -> Element:
        match kind:
            case "domain":
                return domains.domain(xml, self._chance)
            case "network":
                return definitions.network(xml, self._chance, self._free_bridge())
            case "pool":
                return definitions.pool(xml, self._chance)
            case "nwfilter":
                return definitions.nwfilter(xml, self._chance)
            case "secret":
                return definitions.secret(xml, self._chance)
            case _:
                raise InternalError(f"a {kind} is created and never defined")

    def _free_bridge(self) -> str:
        taken = {held.get("name") for _, xml in self._definitions("network") for held in xml.iterfind("bridge")}
        return next(name for name in (f"virbr{number}" for number in count()) if name not in taken)

    @_perform.register
    def _undefine(self, action: Undefine, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        if held.active and action.address.kind == "pool":
            refuse(action, f"storage pool '{action.address.name}' is still active", INVALID)
        if action.address.kind == "nwfilter" and self._filter_is_used(action.address.name):
            refuse(action, "nwfilter is in use", INVALID)
        if held.active and action.address.kind in ("domain", "network"):
            held.persistent, held.autostart = False, False
            return
        del self.objects[action.address]
        self._values.pop(held.xml.findtext("uuid") or "", None)

    @_perform.register
    def _write_seed(self, action: WriteSeed, secrets: Mapping[str, bytes]) -> None:
        for text in action.files.values():
            resolved(text, secrets)
        self._lay(action.path, 376832)

    @_perform.register
    def _inject(self, action: Inject, secrets: Mapping[str, bytes]) -> None:
        self._volume_path(replace(action, address=action.volume))
        for text in (*(action.injection.files or {}).values(), *(action.injection.append or {}).values()):
            resolved(text, secrets)

    @_perform.register
    def _build(self, action: Build, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        self._refuse_active(action, held, expected=False)
        if held.xml.get("type") in MADE:
            self._make(action, held.xml)
        else:
            self.directories.add(held.xml.findtext("target/path") or "")

    def _make(self, action: Build, pool: Element) -> None:
        for path in [device.get("path", "") for device in pool.iterfind("source/device")]:
            if self.blocks.get(path, Device(path)).holds and path not in action.clear:
                refuse(action, f"device '{path}' is not empty", OPERATION_FAILED)
            self.blocks[path] = MADE[pool.get("type", "")](path, pool)

    @_perform.register
    def _find_volume(self, action: Find, secrets: Mapping[str, bytes]) -> None:
        pool, _, name = action.address.name.partition("/")
        self._refuse_inactive(action, Address("pool", pool))
        if action.maker:
            self._refresh(self.objects[Address("pool", pool)].xml.findtext("target/path") or "")
            self._volume_path(action)
            return
        if name not in self.offered:
            refuse(action, "its server offers nothing", INVALID)
        self._lay(
            posixpath.join(self._held(action, Address("pool", pool)).xml.findtext("target/path") or "", name), 2**26
        )

    @_perform.register
    def _start(self, action: Start, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        self._refuse_active(action, held, expected=False)
        match action.address.kind:
            case "pool":
                self._start_pool(action, held)
            case "network":
                self._start_network(action, held)
            case "domain":
                self._refuse_start(action, held.xml)
                fresh = domains.running_domain(held.xml, next(self._numbers))
                held.live, held.saved = fresh if held.saved is None else held.saved, None
        held.active = True

    @_perform.register
    def _restart(self, action: Restart, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        held.live, held.active = None, True
        try:
            self._start_network(action, held)
        except HypervisorError:
            held.xml = definitions.parse(action.before)
            self._start_network(action, held)
            raise

    def _start_pool(self, action: Start, held: Held) -> None:
        path, kind = held.xml.findtext("target/path"), held.xml.get("type")
        usage = held.xml.find("source/auth/secret")
        if usage is not None and not self._knows(usage.get("usage", "")):
            refuse(action, f"no secret with matching usage '{usage.get('usage')}'", MISSING["secret"])
        if kind in MADE and not all(
            self.blocks.get(device.get("path", ""), Device("")).holds for device in held.xml.iterfind("source/device")
        ):
            refuse(action, f"there is no {kind} pool on its devices", INTERNAL)
        if kind in definitions.DIRECTORIES and path not in self.directories:
            refuse(action, f"cannot open directory '{path}': No such file or directory", SYSTEM)
        held.xml = definitions.running_pool(held.xml)
        self._refresh(path or "")

    def _start_network(self, action: Action, held: Held) -> None:
        mine = list(networks.spans(held.xml))
        for other in self.objects.values():
            if other.live is not None and other.live.tag == "network" and other is not held:
                for span in networks.spans(other.live):
                    if any(span.version == own.version and span.overlaps(own) for own in mine):
                        refuse(action, f"Network is already in use by interface ({span})", INTERNAL)
        held.live = definitions.running_network(held.xml)

    def _refuse_start(self, action: Start, xml: Element) -> None:
        """What a guest stands on must be there, and nobody else may write to its disks."""
        for source in xml.iterfind("devices/interface/source[@network]"):
            self._refuse_inactive(action, Address("network", source.get("network", "")))
        for reference in xml.iterfind("devices/interface/filterref"):
            self._held(action, Address("nwfilter", reference.get("filter", "")))
        for disk in xml.iterfind("devices/disk"):
            path = self._path_of(action, disk)
            if path is not None:
                self._refuse_disk(action, disk, path)

    @_perform.register
    def _stop(self, action: Stop, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        if action.address.kind == "domain" and not held.active:
            return  # it went off by itself: that is what was asked
        self._refuse_active(action, held, expected=True)
        held.active, held.live = False, None
        if not held.persistent:
            del self.objects[action.address]

    @_perform.register
    def _set_autostart(self, action: SetAutostart, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        if not held.persistent:
            refuse(action, "cannot set autostart for transient object", INVALID)
        held.autostart = action.on

    # Volumes and secrets

    @_perform.register
    def _create_volume(self, action: CreateVolume, secrets: Mapping[str, bytes]) -> None:
        pool, name = Address("pool", action.address.name.partition("/")[0]), action.address.name.partition("/")[2]
        self._refuse_inactive(action, pool)
        xml = definitions.parse(action.xml)
        directory = self._held(action, pool).xml.findtext("target/path") or ""
        path = posixpath.join(directory, name)
        if path in self.files:
            self._refresh(directory)
            raise VolumeExists(f"{action.verb} {action.address}", "it exists already", VOLUME_EXISTS)
        self.files[path] = definitions.volume(xml, directory, self._backing_capacity(action, xml))
        self.known.add(path)

    @_perform.register
    def _resize_volume(self, action: ResizeVolume, secrets: Mapping[str, bytes]) -> None:
        path = self._volume_path(action)
        users = dict(self._users(path))
        opener = self.objects.get(Address("domain", action.domain))
        if opener is not None and opener.active and users:
            if users.get(Address("domain", action.domain)) != action.target:
                refuse(action, f"invalid path: {action.target}", 8)
        elif users:
            refuse(action, f'Failed to get "write" lock on {path}', INTERNAL)
        size = self.files[path].find("capacity")
        if size is None or int(size.text or 0) > action.capacity:
            refuse(action, "Can't shrink capacity below current capacity unless shrink flag explicitly specified", 8)
        size.text = str(action.capacity)

    @_perform.register
    def _replace_volume(self, action: ReplaceVolume, secrets: Mapping[str, bytes]) -> None:
        path, xml = self._volume_path(action), definitions.parse(action.xml)
        new = definitions.volume(xml, posixpath.dirname(path), self._backing_capacity(action, xml))
        beside = f"{path}{BESIDE}"
        self.files[beside] = new
        self.known.add(beside)
        if self.kill_within is not None and self.writes == self.kill_within:
            raise Killed(f"within {action}")
        self.files[path] = self.files.pop(beside)
        self.known.discard(beside)

    @_perform.register
    def _delete_volume(self, action: DeleteVolume, secrets: Mapping[str, bytes]) -> None:
        del self.files[self._volume_path(action)]

    @_perform.register
    def _set_secret_value(self, action: SetSecretValue, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        self._values[held.xml.findtext("uuid") or ""] = value_of(action.address.name, secrets)

    # What runs

    @_perform.register
    def _update_network(self, action: UpdateNetwork, secrets: Mapping[str, bytes]) -> None:
        held = self._held(action, action.address)
        if action.live:
            self._refuse_active(action, held, expected=True)
        # Both or neither, as libvirt does it.
        xml, live = deepcopy(held.xml), deepcopy(held.live)
        for tree in (xml if action.config else None, live if action.live else None):
            if tree is not None:
                networks.update(action, tree)
        held.xml, held.live = xml, live

    @_perform.register
    def _replug(self, action: Replug, secrets: Mapping[str, bytes]) -> None:
        self._refuse_active(action, self._held(action, action.address), expected=True)

    @_perform.register
    def _attach_device(self, action: AttachDevice, secrets: Mapping[str, bytes]) -> None:
        live, device = self._live_devices(action), definitions.parse(action.xml)
        domains.device(device, self._chance)
        if any(device_identity(held) == device_identity(device) for held in live.iterfind(str(device.tag))):
            refuse(action, f"{device_identity(device)} already exists", INVALID)
        if device.tag == "disk" and (path := self._path_of(action, device)) is not None:
            self._refuse_disk(action, device, path)
        if device.tag == "interface" and (source := device.find("source[@network]")) is not None:
            self._refuse_inactive(action, Address("network", source.get("network", "")))
        if not domains.find_slot(live, device):
            refuse(action, "No more available PCI slots", INTERNAL)
        counts = {str(device.tag): len(live.findall(str(device.tag))) - 1}
        domains.running_device(device, counts, next(self._numbers))
        live.append(device)
        domains.note(live, device, attached=True)

    @_perform.register
    def _detach_device(self, action: DetachDevice, secrets: Mapping[str, bytes]) -> None:
        live, device = self._live_devices(action), definitions.parse(action.xml)
        if self.deaf:
            raise Unanswered(f"{action.verb} {action.address}", f"the guest still holds {action.device}")
        for held in live.findall(str(device.tag)):
            if device_identity(held) == device_identity(device):
                live.remove(held)
        domains.note(live, device, attached=False)

    @_perform.register
    def _set_vcpus(self, action: SetVcpus, secrets: Mapping[str, bytes]) -> None:
        vcpu = self._running(action).find("vcpu")
        assert vcpu is not None
        if action.count > int(vcpu.text or 1):
            refuse(action, f"requested vcpus is greater than max allowable vcpus for the live domain: {vcpu.text}", 8)
        vcpu.set("current", str(action.count))
        if vcpu.get("current") == vcpu.text:
            del vcpu.attrib["current"]

    @_perform.register
    def _set_memory(self, action: SetMemory, secrets: Mapping[str, bytes]) -> None:
        memory, current = (self._running(action).find(tag) for tag in ("memory", "currentMemory"))
        assert memory is not None
        assert current is not None
        if action.kib > int(memory.text or 0):
            refuse(action, "cannot set memory higher than max memory", 8)
        current.text = str(action.kib)

    @_perform.register
    def _update_device(self, action: UpdateDevice, secrets: Mapping[str, bytes]) -> None:
        live, device = self._live_devices(action), definitions.parse(with_secrets(action.xml, secrets))
        domains.device(device, self._chance)
        for held in live.findall(str(device.tag)):
            if device_identity(held) == device_identity(device) and held.get("type") == device.get("type"):
                for part in ("alias", "address"):
                    if device.find(part) is None and (kept := held.find(part)) is not None:
                        device.append(deepcopy(kept))
                if held.get("port") and device.get("port") == "-1":
                    device.set("port", held.get("port", ""))
                live.replace(held, device)
                return
        refuse(action, f"no such {device.tag!s} in the guest", 99)


def _is_ours(address: Address, xml: Element, site: str) -> bool:
    if address.kind in ("domain", "network"):
        return is_of(site, xml)
    return xml.findtext("uuid") == own_uuid(site, address)

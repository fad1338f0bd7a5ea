# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that touches libvirt: what a host has, what it holds, and one thing done to it at a time.

Reading is a handful of bulk lists and one XML an object. Nothing here decides anything; what libvirt refuses becomes a
`HypervisorError` in `saying`. A connection may be used from several threads, as libvirt's own may.
See https://libvirt.org/html/index.html for the calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, singledispatchmethod
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import HypervisorError, InternalError, VolumeExists
from ..model.address import Address
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
from ..xml.build import parse, to_text
from ..xml.common import stamped
from . import credentials, kept, live, nodes, overlays, seeds
from . import devices as block
from .bridges import BRIDGES
from .capabilities import (
    boards,
    cpu_models,
    devices,
    emulators,
    kvm_works,
    load,
    machines,
    memory,
    numa,
    offers_kvm,
)
from .connection import allowing, constant, open_connection, saying
from .fences import fences
from .gateways import GATEWAYS
from .identity import boot, hardware, identity
from .known_volumes import Known, known_volumes, note_volumes
from .links import links, traffic
from .lock import lock_file, noted, wait_for
from .look import Look, secret_name
from .maintenance import maintenance
from .open_disks import Running
from .plug import bridge_of, plug, unplugged
from .reached import is_elsewhere, is_local_qemu
from .ready import is_here, make_ready, refuse_attach
from .replace import replace
from .schema import is_known_valid
from .stale_leases import release
from .storage import await_volumes, create_volume, directories, refuse_too_small, wipe
from .store_notes import note_store, store_notes
from .values import value_of, with_secrets

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


# These pools would be formatted by a build, and `no overwrite` is how libvirt refuses; others do not know the flag.
FORMATTED_POOLS = ("disk", "fs", "logical")
TRAY_ATTEMPTS = 5  # to take a medium out of a drive that is being read
KEEPERS: Mapping[str, kept.Keeper] = {keeper.kind: keeper for keeper in (BRIDGES, GATEWAYS)}


class LibvirtHypervisor:
    """A host by its libvirt; `uri` as in https://libvirt.org/uri.html. Implements `protocol.Hypervisor`."""

    patience = 60.0  # seconds to wait for another run
    guest_patience = 10.0  # seconds a guest gets to let go of a device, or of memory
    find_patience = 5.0  # seconds until a volume that others made is seen
    step = 0.05  # seconds between two looks while waiting

    def __init__(self, uri: str = "qemu:///system") -> None:
        self.uri = uri
        self._here = is_local_qemu(uri)  # what is beside libvirt is seen on this machine only
        self._connection = open_connection(uri)
        self.running = Running(self._connection)
        self._secret_uuids: dict[str, str] = {}  # libvirt does not keep the names of secrets
        self._defined: set[str] = set()  # domains, when last looked at or since

    def close(self) -> None:
        """Let go of the host; what fails here has no consequence."""
        with suppress(libvirt.libvirtError):
            self._connection.close()

    # What the host is

    @cached_property
    def _capabilities(self) -> tuple[Element, int, int]:
        # Asked once: libvirt looks at every emulator for each answer, and takes seconds when its cache does not hold.
        with saying("read the capabilities of the host"):
            held = self._connection
            return parse(held.getCapabilities()), held.getLibVersion(), held.getVersion()

    def facts(self) -> HostFacts:
        """What the host has and can do; memory that is free is read anew each time."""
        capabilities, libvirt_version, version = self._capabilities
        here = "///" in self.uri  # a URI that names a host is about that one, and not about the machine we are on
        with saying("read what the host has"):
            arch, mebibytes, cpus, *_rest = self._connection.getInfo()
            there, unused = memory(self._connection) or (mebibytes * 2**20, self._connection.getFreeMemory())
            kvm = offers_kvm(capabilities, arch) and kvm_works(arch)
            return HostFacts(
                hostname=self._connection.getHostname(),
                uuid=capabilities.findtext("host/uuid") or "",
                identity=identity() if here else "",
                hardware=hardware() if here else "",
                boot=boot() if here else "",
                arch=arch,
                cpu_model=capabilities.findtext("host/cpu/model") or "",
                cpus=cpus,
                memory=ByteSize(there),
                free_memory=ByteSize(self._connection.getFreeMemory()),
                available_memory=ByteSize(unused),
                traffic=traffic() if self._here else 0,
                kvm=kvm,
                libvirt=libvirt_version,
                hypervisor=version,
                emulators=emulators(capabilities),
                machines=machines(capabilities),
                boards=boards(capabilities, arch),
                cpu_models=cpu_models(self._connection, arch) if kvm else (),
                numa=numa(capabilities),
                devices=devices(self._connection),
                load=load(cpus),
                maintenance=maintenance(),
                fences=fences() or None if here else None,
                stores=store_notes() or None if here else None,
                known_volumes=tuple(sorted(self._known.volumes)),
                unmounted=self._known.unmounted() or None,
                links=links() if self._here else None,
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held while a run changes the host; waits `patience` seconds for the run that has it, then names it."""
        with lock_file(*self._reached()) as held:
            deadline = time.monotonic() + self.patience
            wait_for(held, deadline, self.step)
            with noted(held) as killed:
                if killed:
                    with saying("wait for what a run that was killed had begun"):
                        await_volumes(self._connection, deadline, self.step)
                yield

    def _reached(self) -> tuple[str, str]:
        """The URI without libvirt's aliases, and the host's name where the URI names one."""
        with saying("read which host this is"):
            uri = self._connection.getURI()
            return uri, self._connection.getHostname() if is_elsewhere(uri) else ""

    # What the host holds

    def defined(self, names: Iterable[str]) -> list[str]:
        """Those of these domains that the host has, whoever's they are."""
        with saying("list the domains"):
            return sorted({held.name() for held in self._connection.listAllDomains()} & set(names))

    def observe(self, site: str, volumes: Iterable[str] = ()) -> dict[Address, Observed]:
        """Everything the host holds; see `protocol.Hypervisor.observe`."""
        keepers = KEEPERS.values() if self._here else ()
        with saying("look at what the host holds"):
            found = {seen.address: seen for seen in Look(self._connection, site, keepers, volumes)}
        self._secret_uuids |= {at.name: seen.info["uuid"] for at, seen in found.items() if at.kind == "secret"}
        self._defined = {at.name for at in found if at.kind == "domain"}
        return found

    def devices(self, paths: tuple[str, ...]) -> dict[str, Device]:
        """What is on block devices and who uses them; libvirt runs where we do."""
        return block.look(paths)

    # What is done to it

    @property
    def _known(self) -> Known:
        return known_volumes() if self._here else Known()

    def note_volumes(self, volumes: Collection[str], moved: Collection[str] = ()) -> None:
        """Keep which volumes were made or found; nothing of a host that is not this machine, or of a user's own libvirt."""
        if self._here and os.geteuid() == 0:
            with saying("note which volumes were made"):
                note_volumes(volumes, directories(self._connection), moved)

    def note_store(self, site: str, state: StoreState) -> None:
        """Keep how far the store of a site has come; nothing as `note_volumes`."""
        if self._here and os.geteuid() == 0:
            note_store(site, state)

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        """Do one thing and return when it is done. A value that is missing from `secrets` is a `DeclarationError`."""
        if (keeper := KEEPERS.get(action.address.kind)) is not None:
            kept.perform(keeper, action)
            return
        with saying(f"{action.verb} {action.address}", secrets.values()):
            self._perform(action, secrets)

    @singledispatchmethod
    def _perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        raise InternalError(f"nothing performs {type(action).__name__}")

    @_perform.register
    def _define(self, action: Define, secrets: Mapping[str, bytes]) -> None:
        # Validated: without it libvirt drops what it does not know in silence, and a misspelt overlay would do nothing.
        held = self._connection
        match action.address.kind:
            case "domain":
                if is_here(held):
                    overlays.prepare(parse(action.xml))
                text = with_secrets(self._dated(action), secrets)
                valid = is_here(held) and is_known_valid(parse(text))
                held.defineXMLFlags(text, 0 if valid else libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            case "network":
                held.networkDefineXMLFlags(action.xml, libvirt.VIR_NETWORK_DEFINE_VALIDATE)
            case "pool":
                held.storagePoolDefineXML(action.xml, libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE)
            case "nwfilter":
                held.nwfilterDefineXMLFlags(action.xml, libvirt.VIR_NWFILTER_DEFINE_VALIDATE)
            case "secret":
                # Not validated: libvirt's schema wants a path for the usage of a volume, libvirt itself any text.
                secret = held.secretDefineXML(action.xml)
                self._secret_uuids[action.address.name] = secret.UUIDString()
            case _:
                raise InternalError(f"{action.address} is created and never defined")

    def _dated(self, action: Define) -> str:
        """The definition, with the time where it is the machine's first."""
        if action.address.name in self._defined:
            return action.xml
        self._defined.add(action.address.name)
        xml = parse(action.xml)
        return to_text(xml) if stamped(xml, time.time()) else action.xml

    @_perform.register
    def _undefine(self, action: Undefine, secrets: Mapping[str, bytes]) -> None:
        found = self._find(action.address)
        if action.address.kind == "domain":
            xml = parse(found.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            _undefine_domain(found)
            _forget(action.address.name, xml)
        else:
            found.undefine()
            if action.address.kind == "secret" and is_here(self._connection):
                credentials.forget(action.address.name)

    @_perform.register
    def _write_seed(self, action: WriteSeed, secrets: Mapping[str, bytes]) -> None:
        in_use: set[str] = set()
        with allowing("VIR_ERR_NO_DOMAIN"):
            domain = self._find(action.address)
            texts = (domain.XMLDesc(), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            in_use = {path for text in texts if (path := seeds.seed_of(parse(text)))}
        seeds.write(action, secrets, in_use)

    @_perform.register
    def _inject(self, action: Inject, secrets: Mapping[str, bytes]) -> None:
        from . import injection  # few machines are set up so

        injection.write(
            f"set up {action.address}", self._find(action.volume).path(), action.format, action.injection, secrets
        )

    @_perform.register
    def _build(self, action: Build, secrets: Mapping[str, bytes]) -> None:
        block.clear(action.clear)
        pool = self._find(action.address)
        if parse(pool.XMLDesc()).get("type") in FORMATTED_POOLS:
            pool.build(libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE)
            return
        try:
            pool.build()
        except libvirt.libvirtError:
            # libvirt looks whether the folder is there and then makes it, and of hosts that make one they share, all but the
            # first may fail: they still see what is no longer so. Now it is there; whatever else was wrong is so again.
            pool.build()

    @_perform.register
    def _find_volume(self, action: Find, secrets: Mapping[str, bytes]) -> None:
        pool, name = self._find(Address("pool", action.address.name.partition("/")[0])), action.address.name
        deadline = time.monotonic() + (self.patience if action.maker else self.find_patience)
        # The first refresh has the session scanned, and a device appears a moment later.
        while name.partition("/")[2] not in pool.listVolumes():
            if time.monotonic() > deadline:
                offered = ", ".join(sorted(pool.listVolumes())) or "nothing"
                why = f"{action.maker} makes it, and it is not there yet: run this again"
                lun = f"its server offers {offered}: make it there, and run again (POOL-13)"
                raise HypervisorError(f"find {action.address}", why if action.maker else lun)
            pool.refresh()
            time.sleep(self.step)

    @_perform.register
    def _start(self, action: Start, secrets: Mapping[str, bytes]) -> None:
        found = self._find(action.address)
        if action.address.kind == "domain":
            xml = parse(found.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            with self.running.claim(xml):
                make_ready(self._connection, xml, self.running)
                found.create()
        else:
            found.create()
        if action.address.kind == "network":
            self._plug_in(action.address.name)
            self._release_leases(found)

    @_perform.register
    def _restart(self, action: Restart, secrets: Mapping[str, bytes]) -> None:
        network = self._find(action.address)
        with allowing("VIR_ERR_OPERATION_INVALID"):  # it went down by itself
            network.destroy()
        try:
            network.create()
        except libvirt.libvirtError as refused:
            self._connection.networkDefineXML(action.before).create()
            self._plug_in(action.address.name)
            text = f"{refused}; it runs as it did before, and everybody is plugged in again"
            raise HypervisorError(f"restart {action.address}", text) from None
        self._plug_in(action.address.name)
        self._release_leases(network)

    def _release_leases(self, network: Any) -> None:
        """Release the leases that keep reserved addresses from their VMs."""
        if is_here(self._connection):
            release(network)

    def _plug_in(self, network: str) -> None:
        """Plug in again who was plugged in when the network stopped."""
        bridges = bridge_of(network, parse(self._find(Address("network", network)).XMLDesc()))
        for domain in self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            with allowing("VIR_ERR_NO_DOMAIN"):  # one of somebody else's ended meanwhile
                for tap, bridge in unplugged(parse(domain.XMLDesc()), bridges, ()):
                    plug(tap, bridge)

    @_perform.register
    def _replug(self, action: Replug, secrets: Mapping[str, bytes]) -> None:
        networks = self._connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
        bridges: dict[str, str] = {}
        for network in networks:
            bridges |= bridge_of(network.name(), parse(network.XMLDesc()))
        for tap, bridge in unplugged(parse(self._find(action.address).XMLDesc()), bridges, kept.names(BRIDGES)):
            plug(tap, bridge)

    @_perform.register
    def _stop(self, action: Stop, secrets: Mapping[str, bytes]) -> None:
        found = self._find(action.address)
        if action.address.kind == "domain":
            gone = None if found.isPersistent() else parse(found.XMLDesc())
            live.shut_down(found, time.monotonic() + action.timeout, self.step)
            if gone is not None:  # without a definition nothing of it is left
                _forget(action.address.name, gone)
        else:
            if action.address.kind == "pool":
                nodes.refuse_used(found)
            found.destroy()

    @_perform.register
    def _set_autostart(self, action: SetAutostart, secrets: Mapping[str, bytes]) -> None:
        self._find(action.address).setAutostart(int(action.on))

    @_perform.register
    def _create_volume(self, action: CreateVolume, secrets: Mapping[str, bytes]) -> None:
        xml = parse(action.xml)
        _refuse_guessed_backing(action, xml)
        if self._here:
            refuse_too_small(action.address, xml)
        pool = self._find(Address("pool", action.address.name.partition("/")[0]))
        try:
            create_volume(pool, action.xml)
        except libvirt.libvirtError as refused:
            code = refused.get_error_code()
            if code not in (libvirt.VIR_ERR_STORAGE_VOL_EXIST, libvirt.VIR_ERR_OPERATION_INVALID):
                raise
            # Files came or went without libvirt: it knows a volume whose file is gone, or a file lies where none should.
            # libvirt never overwrites, so asking again is safe.
            pool.refresh()
            if action.address.name.partition("/")[2] not in pool.listVolumes():
                create_volume(pool, action.xml)
                return
            raise VolumeExists(f"{action.verb} {action.address}", "it exists already", code) from None

    @_perform.register
    def _resize_volume(self, action: ResizeVolume, secrets: Mapping[str, bytes]) -> None:
        volume = self._find(action.address)
        pool = volume.storagePoolLookupByVolume()
        is_logical = parse(pool.XMLDesc()).get("type") == "logical"
        if is_logical:
            block.extend(volume.path(), action.capacity)  # libvirt refuses to
            pool.refresh()
        # The domain that had it open when the run was planned may be off by now, or have let go: by an earlier action of the run.
        with allowing("VIR_ERR_NO_DOMAIN", "VIR_ERR_OPERATION_INVALID", "VIR_ERR_INVALID_ARG"):
            if action.domain:
                domain = self._find(Address("domain", action.domain))
                domain.blockResize(action.target, action.capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
                return
        if not is_logical:
            volume.resize(action.capacity)

    @_perform.register
    def _replace_volume(self, action: ReplaceVolume, secrets: Mapping[str, bytes]) -> None:
        xml = parse(action.xml)
        _refuse_guessed_backing(action, xml)
        if self._here:
            refuse_too_small(action.address, xml)
        pool = self._find(Address("pool", action.address.name.partition("/")[0]))
        self._refuse_open(action, self._find(action.address))
        replace(pool, action.address, action.xml, wiped=action.wipe)

    @_perform.register
    def _delete_volume(self, action: DeleteVolume, secrets: Mapping[str, bytes]) -> None:
        volume = self._find(action.address)
        self._refuse_open(action, volume)
        if action.wipe:
            wipe(volume)
        volume.delete()

    def _refuse_open(self, action: Action, volume: Any) -> None:
        """By whatever path: a file that a running domain has open is its data, and no name of it goes."""
        if users := self.running.users(volume.path()):
            text = f"{volume.path()} is open in domain {users[0]}, which runs: stop it first"
            raise HypervisorError(f"{action.verb} {action.address}", text)

    @_perform.register
    def _set_secret_value(self, action: SetSecretValue, secrets: Mapping[str, bytes]) -> None:
        found, value = self._find(action.address), value_of(action.address.name, secrets)
        if credentials.is_for_mount(parse(found.XMLDesc())) and is_here(self._connection):
            credentials.write(action.address.name, value)
        found.setValue(value)

    @_perform.register
    def _update_network(self, action: UpdateNetwork, secrets: Mapping[str, bytes]) -> None:
        flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG if action.config else 0
        flags |= libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE if action.live else 0
        command = constant("VIR_NETWORK_UPDATE_COMMAND", action.command)
        section = constant("VIR_NETWORK_SECTION", action.section)
        network = self._find(action.address)
        network.update(command, section, action.parent_index, action.xml, flags)
        if action.live and action.section == "ip-dhcp-host" and action.command != "delete":
            self._release_leases(network)

    @_perform.register
    def _attach_device(self, action: AttachDevice, secrets: Mapping[str, bytes]) -> None:
        found = self._find(action.address)
        self.running.forget()  # others may have let go of the disk since
        refuse_attach(found, parse(action.xml), self.running)
        self.running.forget()
        found.attachDeviceFlags(action.xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        live.record(found, action.xml, libvirt.VIR_DOMAIN_AFFECT_LIVE, attached=True)

    @_perform.register
    def _detach_device(self, action: DetachDevice, secrets: Mapping[str, bytes]) -> None:
        operation, domain = f"{action.verb} {action.address}", self._find(action.address)
        self.running.forget()
        live.detach(
            domain,
            action.xml,
            self._until(operation, f"still holds {action.device}, and is asked again in the next run,"),
        )
        live.record(domain, action.xml, libvirt.VIR_DOMAIN_AFFECT_LIVE, attached=False)

    @_perform.register
    def _set_vcpus(self, action: SetVcpus, secrets: Mapping[str, bytes]) -> None:
        live.set_vcpus(self._find(action.address), action.count, f"{action.verb} {action.address}")

    @_perform.register
    def _set_memory(self, action: SetMemory, secrets: Mapping[str, bytes]) -> None:
        until = self._until(f"{action.verb} {action.address}", "has been told, and its balloon is not there")
        live.set_memory(self._find(action.address), action.kib, until)

    def _until(self, operation: str, what: str) -> live.Until:
        return live.Until(operation, what, self.guest_patience, self.step)

    @_perform.register
    def _update_device(self, action: UpdateDevice, secrets: Mapping[str, bytes]) -> None:
        found, xml = self._find(action.address), with_secrets(action.xml, secrets)
        for attempt in range(TRAY_ATTEMPTS):
            try:
                found.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
                return
            except libvirt.libvirtError as refused:
                # The guest, or its firmware, is just reading the medium. Forcing the tray would be felt by it; waiting is not.
                if "Tray of" not in str(refused) or attempt == TRAY_ATTEMPTS - 1:
                    raise
                time.sleep(self.step * 10)

    def refresh(self, pool: Address) -> None:
        """Let libvirt read a pool again, whose files were changed without it."""
        with saying(f"refresh {pool}"):
            self._find(pool).refresh()

    def _find(self, address: Address) -> Any:
        """libvirt's own object; a `libvirtError` when there is none."""
        held = self._connection
        match address.kind:
            case "domain":
                return held.lookupByName(address.name)
            case "network":
                return held.networkLookupByName(address.name)
            case "pool":
                return held.storagePoolLookupByName(address.name)
            case "nwfilter":
                return held.nwfilterLookupByName(address.name)
            case "volume":
                pool, _, name = address.name.partition("/")
                return held.storagePoolLookupByName(pool).storageVolLookupByName(name)
            case "secret":
                return self._find_secret(address.name)
            case _:
                raise InternalError(f"{address} is none of libvirt's")

    def _find_secret(self, name: str) -> Any:
        if name not in self._secret_uuids:
            held = self._connection.listAllSecrets()
            self._secret_uuids |= {secret_name(secret, parse(secret.XMLDesc())): secret.UUIDString() for secret in held}
        if name not in self._secret_uuids:
            raise HypervisorError(f"find secret {name}", "the host has none of that name")
        return self._connection.secretLookupByUUIDString(self._secret_uuids[name])


# Doing


def _refuse_guessed_backing(action: Action, xml: Element) -> None:
    if (backing := xml.find("backingStore")) is not None and backing.find("format") is None:
        raise InternalError(f"{action.address} has a backing file without format, which libvirt would guess")


def _forget(name: str, xml: Element) -> None:
    """Remove what we keep beside libvirt for a domain that is no more."""
    seeds.forget(name)
    overlays.forget(xml)


def _undefine_domain(domain: Any) -> None:
    """Removes all that libvirt keeps about a guest. Disks are not libvirt's."""
    flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    more = libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    # Since 8.9; before, the state of a TPM goes without being asked.
    more |= getattr(libvirt, "VIR_DOMAIN_UNDEFINE_TPM", 0)
    try:
        domain.undefineFlags(flags | more)
    except libvirt.libvirtError as refused:
        if refused.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:  # drivers without firmware do not know these flags
            raise
        domain.undefineFlags(flags)

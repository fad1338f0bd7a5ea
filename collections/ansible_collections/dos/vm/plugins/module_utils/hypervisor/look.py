# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host holds, by its libvirt: a handful of bulk lists, and one XML an object."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..chain import chain
from ..model.address import Address, own_uuid
from ..plan.plan import Observed
from ..xml.build import parse
from ..xml.common import is_of
from ..xml.secret import read_description
from . import credentials, kept, seeds
from .connection import allowing
from .nodes import node, nodes
from .plug import bridge_of, in_the_air
from .ready import is_here
from .storage import files_of, idle_volumes, is_recent, named, unseen

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

# virDomainState, in virsh's words.
STATES = {
    0: "no state",
    1: "running",
    2: "idle",
    3: "paused",
    4: "in shutdown",
    5: "shut off",
    6: "crashed",
    7: "pmsuspended",
}
SAVED = "saved"  # our word for one that is off and whose memory is on disk


class Look:
    """One look at everything a host holds, in the order in which one thing stands on another.

    What is gone by the time we come to it is left out. `keepers` have what libvirt does not know: bridges and gateways.
    `volumes` are the declared ones, as `pool/name`.
    """

    def __init__(self, connection: Any, site: str, keepers: Iterable[kept.Keeper], volumes: Iterable[str] = ()) -> None:
        self._connection, self._site, self._keepers, self._volumes = connection, site, keepers, volumes
        self._bridges: dict[str, str] = {}  # of the active networks, which the domains are plugged into
        self._own: set[str] = set()  # bridges that we keep, and domains may be plugged into too
        self._idle: dict[
            str, tuple[Observed, set[str]]
        ] = {}  # pools that are not active, with the files in their directories

    def __iter__(self) -> Iterator[Observed]:
        yield from self._secrets()
        yield from self._pools()
        yield from self._nwfilters()
        for keeper in self._keepers:
            for seen in kept.observe(keeper, self._site):
                self._own |= {seen.address.name} if keeper.kind == "bridge" else set()
                yield seen
        yield from self._networks()
        domains = list(self._domains())
        yield from domains
        yield from self._again(domains)
        yield from self._beside(domains)

    def _beside(self, domains: Iterable[Observed]) -> Iterator[Observed]:
        """The volumes in directories of pools that are not active: their files are there, and no more is known."""
        wanted = {*named(domains), *self._volumes} if self._idle else set()
        for pool, files in self._idle.values():
            yield from idle_volumes(pool, files, wanted)

    def _again(self, domains: Iterable[Observed]) -> Iterator[Observed]:
        """The volumes that VMs have or that are declared, and that came into a pool without libvirt: by another host, or a person."""
        for name, fresh in unseen(self._connection, domains, self._volumes).items():
            pool = self._connection.storagePoolLookupByName(name)
            with allowing("VIR_ERR_INTERNAL_ERROR"):  # libvirt makes a volume there just now
                pool.refresh()
            seen = Observed(
                address=Address("pool", name),
                xml=_definition(pool, libvirt.VIR_STORAGE_XML_INACTIVE),
                ours=pool.UUIDString() == own_uuid(self._site, Address("pool", name)),
            )
            yield from _volumes(pool, seen, fresh)

    def _secrets(self) -> list[Observed]:
        def look(secret: Any) -> Iterator[Observed]:
            xml = parse(secret.XMLDesc())
            address = Address("secret", secret_name(secret, xml))
            if credentials.is_for_mount(xml) and is_here(self._connection):
                credentials.unnoted(xml, address.name)
            uuid, description = secret.UUIDString(), xml.findtext("description") or ""
            ours = uuid == own_uuid(self._site, address)
            yield Observed(address=address, xml=xml, ours=ours, info={"description": description, "uuid": uuid})

        # Two secrets may have one usage in different types: ours comes last and stays.
        return sorted(_each(look, _known(self._connection.listAllSecrets)), key=lambda seen: seen.ours)

    def _pools(self) -> Iterator[Observed]:
        listed = self._connection.listAllStoragePools
        active = _names(listed(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE))
        autostart = _names(listed(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART))
        persistent = _names(listed(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT))

        def look(pool: Any) -> Iterator[Observed]:
            name, address = pool.name(), Address("pool", pool.name())
            seen = Observed(
                address=address,
                xml=_definition(pool, libvirt.VIR_STORAGE_XML_INACTIVE),
                active=name in active,
                autostart=name in autostart,
                persistent=name in persistent,
                ours=pool.UUIDString() == own_uuid(self._site, address),
            )
            if not seen.active and is_here(self._connection) and (files := files_of(seen.xml)) is not None:
                seen.info["files"] = "seen"
                self._idle[name] = seen, files
            yield seen
            if seen.active:
                yield from _volumes(pool, seen)

        return _each(look, listed())

    def _nwfilters(self) -> Iterator[Observed]:
        def look(nwfilter: Any) -> Iterator[Observed]:
            address = Address("nwfilter", nwfilter.name())
            ours = nwfilter.UUIDString() == own_uuid(self._site, address)
            yield Observed(address=address, xml=parse(nwfilter.XMLDesc()), active=True, ours=ours)

        return _each(look, _known(self._connection.listAllNWFilters))

    def _networks(self) -> Iterator[Observed]:
        listed = self._connection.listAllNetworks
        active = _names(listed(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
        autostart = _names(listed(libvirt.VIR_CONNECT_LIST_NETWORKS_AUTOSTART))
        persistent = _names(listed(libvirt.VIR_CONNECT_LIST_NETWORKS_PERSISTENT))

        def look(network: Any) -> Iterator[Observed]:
            name = network.name()
            xml = _definition(network, libvirt.VIR_NETWORK_XML_INACTIVE)
            now = parse(network.XMLDesc()) if name in active else None
            self._bridges |= bridge_of(name, now)
            yield Observed(
                address=Address("network", name),
                xml=xml,
                live=now,
                active=name in active,
                autostart=name in autostart,
                persistent=name in persistent,
                ours=_marked(xml, self._site),
            )

        return _each(look, listed())

    def _domains(self) -> Iterator[Observed]:
        listed = self._connection.listAllDomains
        running = _names(listed(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE))
        autostart = _names(listed(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART))
        persistent = _names(listed(libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT))
        saved = _names(listed(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE))
        bridges, own, here = self._bridges, self._own, is_here(self._connection)

        def look(domain: Any) -> Iterator[Observed]:
            # Secure, so that a console's password can be compared; it stays in memory.
            secure = libvirt.VIR_DOMAIN_XML_SECURE
            name, active = domain.name(), domain.name() in running
            # One that does not run has no other state, and a host may have hundreds that nobody need ask.
            state = domain.state()[0] if active else libvirt.VIR_DOMAIN_SHUTOFF
            xml = parse(domain.XMLDesc(secure | libvirt.VIR_DOMAIN_XML_INACTIVE))
            yield Observed(
                address=Address("domain", name),
                xml=xml,
                live=(now := parse(domain.XMLDesc(secure)) if active else None),
                saved=_saved(domain) if name in saved and not active else None,
                active=active,
                autostart=name in autostart,
                persistent=name in persistent,
                ours=_marked(xml, self._site),
                info={
                    "state": SAVED if name in saved and not active else STATES.get(state, "no state"),
                    **in_the_air(now, bridges, own),
                    **({**nodes(xml, now), **_chains(xml, now)} if here else {}),
                    **seeds.seen(xml),
                },
            )

        return _each(look, listed())


def secret_name(secret: Any, xml: Element) -> str:
    # libvirt keeps no name: ours is noted in the description, that of others is what they are found by.
    noted = read_description(xml.findtext("description")).name
    return noted or secret.usageID() or secret.UUIDString()


def _each(look: Callable[[Any], Iterable[Observed]], objects: Iterable[Any]) -> Iterator[Observed]:
    """What `look` sees of each object; one that disappears while we look is left out."""
    for held in objects:
        with allowing(
            "VIR_ERR_NO_DOMAIN",
            "VIR_ERR_NO_NETWORK",
            "VIR_ERR_NO_NWFILTER",
            "VIR_ERR_NO_SECRET",
            "VIR_ERR_NO_STORAGE_POOL",
            "VIR_ERR_NO_STORAGE_VOL",
        ):
            # Whole objects only: a caller must not see half of one.
            yield from list(look(held))


def _known(listed: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    """What a driver lists; nothing from one that does not know the kind (`test:` has neither secrets nor filters)."""
    with allowing("VIR_ERR_NO_SUPPORT"):
        return listed()
    return ()


def _volumes(pool: Any, held: Observed, fresh: Collection[str] = ()) -> Iterator[Observed]:
    """The volumes of an active pool: sizes are as the files have them now, for libvirt opens each to answer.

    Of those that are `fresh`, came into the pool without libvirt, it is said where another host may still be making them.

    The pool is not refreshed: reading must not write. A file whose volume libvirt does not know yet is found at creation.
    """
    path, here = held.xml.findtext("target/path"), is_here(pool.connect())
    real = os.path.realpath(path) if path and here else path

    def look(volume: Any) -> Iterator[Observed]:
        xml = parse(volume.XMLDesc())
        info = {name: xml.findtext(name) or "" for name in ("capacity", "allocation")}
        info["path"] = xml.findtext("target/path") or f"{path}/{volume.name()}"
        if here and (device := node(info["path"])):
            info["node"] = device
        elif real != path:
            info["real"] = f"{real}/{volume.name()}"
        if volume.name() in fresh and is_recent(info["path"]):
            info["fresh"] = "yes"
        address = Address("volume", f"{held.address.name}/{volume.name()}")
        yield Observed(address=address, xml=xml, active=True, ours=held.ours, info=info)

    with allowing("VIR_ERR_OPERATION_INVALID"):  # the pool was stopped a moment ago, perhaps after it was listed
        yield from list(_each(look, pool.listAllVolumes()))


def _saved(domain: Any) -> Element | None:
    """A domain as its saved memory goes on: that file keeps a definition of its own. Nothing where it cannot be read."""
    with allowing(
        "VIR_ERR_OPERATION_INVALID", "VIR_ERR_OPERATION_FAILED", "VIR_ERR_NO_SUPPORT", "VIR_ERR_SYSTEM_ERROR"
    ):
        xml = parse(domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))
        xml.set("id", "0")  # what is libvirt's own in it is that of a running domain
        return xml
    return None


def _chains(*domains: Element | None) -> dict[str, str]:
    """What the files are layered over that a domain has for disks, each as `chain of <path>`.

    A volume is not asked for: libvirt told what it is layered over. A raw disk is layered over nothing.
    """
    found = {}
    for path in {path for domain in domains if domain is not None for path in _layerable(domain)}:
        files = chain(path)
        if files != (path,):
            found[f"chain of {path}"] = "\n".join(files)
    return found


def _layerable(domain: Element) -> Iterator[str]:
    for disk in domain.iterfind("devices/disk/driver[@type='qcow2']/.."):
        source = disk.find("source")
        path = None if source is None else source.get("file") or source.get("dev")
        if path and disk.find("readonly") is None and disk.find("transient") is None:
            yield path


def _definition(held: Any, inactive: int) -> Element:
    """The persistent definition; a driver that has but one (`test:`) does not know the flag `inactive`."""
    with allowing("VIR_ERR_INVALID_ARG"):
        return parse(held.XMLDesc(inactive))
    return parse(held.XMLDesc())


def _names(objects: Iterable[Any]) -> set[str]:
    return {held.name() for held in objects}


def _marked(xml: Element, site: str) -> bool:
    return is_of(site, xml)

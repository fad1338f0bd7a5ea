# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of libvirt XML that nobody here wrote survives parse, decode, render and comparison.

    tools/foreign_xml.py FOLDER             every XML file below it, by kind
    tools/foreign_xml.py FOLDER --define    and those that this machine's libvirt can define: exported, is the plan empty?

Definitions made for the second question are named `ex-foreign-N` and are removed again; nothing is ever started. So that a
machine can define what another one wrote, its uuid, its emulator and the name of a bridge are left to libvirt, and KVM is
QEMU.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt
import yaml

from dosvm.compile.export import Told, export, prove
from dosvm.errors import DosVmError
from dosvm.hypervisor.libvirt import LibvirtHypervisor
from dosvm.model.address import Address, KindName
from dosvm.model.domain import Domain
from dosvm.model.lenient import decode_most
from dosvm.model.types import Name
from dosvm.plan.action import Undefine
from dosvm.plan.describe import READERS
from dosvm.plan.kinds import KINDS
from dosvm.site.site import KINDS as KINDS_OF_SITE
from dosvm.xml import domain, network, nwfilter, pool, secret, volume
from dosvm.xml.build import E, parse, to_text
from dosvm.xml.common import absent
from dosvm.xml.devices import SECRET
from dosvm.xml.normalize import normalize
from dosvm.xml.residue import residue, unsaid

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ROOTS: Mapping[str, KindName] = {
    "domain": "domain",
    "network": "network",
    "pool": "pool",
    "volume": "volume",
    "filter": "nwfilter",
    "secret": "secret",
}
RENDER: Mapping[KindName, Callable[[Any], Element]] = {
    "domain": domain.render,
    "network": network.render,
    "pool": pool.render,
    "volume": lambda held: volume.render(held, ""),
    "nwfilter": nwfilter.render,
    "secret": secret.render,
}
INSTEAD: Mapping[KindName, Mapping[str, Any]] = {"network": {"forward": "none"}, "domain": {"virt_type": "qemu"}}
FIELDS, OVERLAY = "fields", "overlay"


def files(folder: Path) -> Iterator[tuple[KindName, Path, Element]]:
    """The files of a kind we know. What is no XML by itself is not one of them."""
    for path in sorted(folder.rglob("*.xml")):
        try:
            root = parse(path.read_bytes())
        except DosVmError:
            continue
        kind = ROOTS.get(str(root.tag))
        if kind is not None:
            yield kind, path, root


def survives(kind: KindName, root: Element) -> str:
    """`fields`, `overlay`, or why it does not."""
    reader, model = READERS[kind], KINDS[kind].model
    for console in root.iterfind("devices/graphics[@passwd]"):
        console.set("passwd", f"{SECRET}console")  # as the plan does with a password that is declared
    try:
        read = dict(reader.parse(normalize(root, reader.shape), Address(kind, "pool/name")))
        held = decode_most(model, read, INSTEAD.get(kind))
        if isinstance(held, Domain) and held.virt_type == "auto":
            held = replace(held, virt_type="qemu")
        rendered = RENDER[kind](held)
        patch = residue(root, rendered, reader.shape)
        rest = unsaid(root, rendered, patch, reader.shape)
    except DosVmError as refused:
        return f"cannot be declared: {_class(str(refused))}"
    except Exception as error:  # what a lens must never do, and so the first thing to see
        return f"raised {type(error).__name__}: {str(error)[:60]}"
    if rest:
        return f"differs: {_class(rest[0].xpath)}"
    if patch is None:
        return FIELDS
    # The model of these has no place for an overlay.
    return f"no overlay: {_class(_said(patch))}" if kind in ("volume", "secret") else OVERLAY


def _said(patch: Element) -> str:
    return ", ".join(sorted({str(child.tag) for child in patch} | {f"@{name}" for name in map(str, patch.attrib)}))


def _class(text: str) -> str:
    """Reasons without the values they name."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", text.splitlines()[0])[:90]


def table(found: Mapping[str, Counter[str]]) -> Iterator[str]:
    """One line a kind, then the reasons."""
    yield f"{'kind':10} {'files':>6} {'fields':>7} {'overlay':>8} {'not':>5} {'survived':>9}"
    whole: Counter[str] = Counter()
    for kind, counted in sorted(found.items()):
        whole += counted
        yield _row(kind, counted)
    yield _row("all", whole)
    for kind, counted in sorted(found.items()):
        for reason, times in counted.most_common():
            if reason not in (FIELDS, OVERLAY):
                yield f"  {times:4} {kind}: {reason}"


def _row(kind: str, counted: Counter[str]) -> str:
    total, plain, laid = counted.total(), counted[FIELDS], counted[OVERLAY]
    share = f"{100 * (plain + laid) / total:.1f} %" if total else ""
    return f"{kind:10} {total:6} {plain:7} {laid:8} {total - plain - laid:5} {share:>9}"


# ---------------------------------------------------------------------------------------------------- on real libvirt

PREFIX, BATCH = "ex-foreign-", 100
DEFINABLE = ("nwfilter", "network", "pool", "domain")
EMPTY, REFUSED = "empty", "refused"


def defined(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Every file of a kind that can be defined: its kind, what became of it, and its path."""
    libvirt.registerErrorHandler(lambda _, error: None, None)
    waiting = [found for found in files(folder) if found[0] in DEFINABLE]
    with closing(LibvirtHypervisor()) as hypervisor:
        connection = libvirt.open(hypervisor.uri)
        for start in range(0, len(waiting), BATCH):
            yield from _batch(hypervisor, connection, start, waiting[start : start + BATCH])
        connection.close()


def _batch(
    hypervisor: LibvirtHypervisor, connection: Any, start: int, batch: list[tuple[KindName, Path, Element]]
) -> Iterator[tuple[str, str, Path]]:
    made: dict[Address, Path] = {}
    try:
        for number, (kind, path, root) in enumerate(batch, start):
            name = f"{PREFIX}{number}"
            if _define(connection, kind, _renamed(root, kind, name)):
                made[Address(kind, name)] = path
            else:
                yield kind, REFUSED, path
        for address, how in _exported(hypervisor, made).items():
            yield address.kind, how, made[address]
    finally:
        for address in made:
            with suppress(DosVmError):
                hypervisor.perform(Undefine(address=address), {})


def _renamed(root: Element, kind: KindName, name: str) -> str:
    for tag in ("uuid", "devices/emulator"):
        for held in root.findall(tag):
            held.getparent().remove(held)  # type: ignore[union-attr]  # what was found below has a parent
    if kind == "domain" and root.get("type") == "kvm":
        root.set("type", "qemu")
    bridge = root.find("bridge")
    if kind == "network" and bridge is not None and absent(root.find("forward"), "mode") != "bridge":
        bridge.attrib.pop("name", None)
    if kind == "nwfilter":
        root.set("name", name)
    else:
        named = root.find("name")
        if named is None:  # libvirt would take a name from what the pool stands on, and we would not find it again
            named = E("name")
            root.insert(0, named)
        named.text = name
    return to_text(root)


def _define(connection: Any, kind: KindName, xml: str) -> bool:
    define = {
        "domain": connection.defineXML,
        "network": connection.networkDefineXML,
        "pool": connection.storagePoolDefineXML,
        "nwfilter": connection.nwfilterDefineXML,
    }
    try:
        define[kind](xml)
    except libvirt.libvirtError:
        return False
    return True


def _exported(hypervisor: LibvirtHypervisor, made: Mapping[Address, Path]) -> dict[Address, str]:
    """Whether what was exported of each, written as YAML and read again, gives an empty plan."""
    observed = {address: held for address, held in hypervisor.observe("ex-site").items() if address in made}
    told = {"here": Told(facts=hypervisor.facts(), observed=observed)}
    site = Name("ex-site")
    found = export(site, told)
    objects = yaml.safe_load(yaml.safe_dump({kind: found.objects.get(kind, {}) for kind in KINDS_OF_SITE}))
    differing, problems = prove(site, objects, told)
    how = {str(address): EMPTY for address in made} | {
        f"{name}": "vanished" for name in set(map(str, made)) - set(map(str, observed))
    }
    how |= {name: f"left out: {_class(text)}" for _, name, text in found.left_out}
    how |= {name: f"plan not empty: {_class(text)}" for _, name, text in differing}
    for text in problems:  # the files would not load as a site, so none of the numbers would be worth anything
        print(text, file=sys.stderr)
    return {address: how[str(address)] for address in made}


def defined_table(found: Mapping[str, Counter[str]]) -> Iterator[str]:
    """One line a kind, then the reasons."""
    yield f"{'kind':10} {'files':>6} {'defined':>8} {'empty':>6} {'share':>8}"
    whole: Counter[str] = Counter()
    for counted in found.values():
        whole += counted
    for kind, counted in [*sorted(found.items()), ("all", whole)]:
        able = counted.total() - counted[REFUSED]
        yield f"{kind:10} {counted.total():6} {able:8} {counted[EMPTY]:6} {100 * counted[EMPTY] / max(able, 1):6.1f} %"
    for kind, counted in sorted(found.items()):
        for reason, times in counted.most_common():
            if reason not in (EMPTY, REFUSED):
                yield f"  {times:4} {kind}: {reason}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--define", action="store_true", help="define each on this machine's libvirt and export it")
    parser.add_argument("--list", action="store_true", help="name every file that does not survive")
    given = parser.parse_args()
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for kind, path, root in files(given.folder):
        how = survives(kind, root)
        found[kind][how] += 1
        if given.list and how not in (FIELDS, OVERLAY):
            print(f"{path}: {how}")
    print("\n".join(table(found)))
    if given.define:
        results: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for kind_name, how, path in defined(given.folder):
            results[kind_name][how] += 1
            if given.list and how not in (EMPTY, REFUSED):
                print(f"{path}: {how}")
        print("\n".join(defined_table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts told, taken apart for the library; and what the library found, as YAML that Ansible reads back unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.dos.vm.plugins.module_utils.compile.export import Exported, Told
from ansible_collections.dos.vm.plugins.module_utils.errors import printable
from ansible_collections.dos.vm.plugins.module_utils.model.address import Address, KindName
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.model.host import HostFacts
from ansible_collections.dos.vm.plugins.module_utils.plan.plan import Observed
from ansible_collections.dos.vm.plugins.module_utils.xml.build import parse

# What the `*_info` module of each kind calls its list.
LISTS: Mapping[KindName, str] = {
    "secret": "secrets",
    "pool": "pools",
    "volume": "volumes",
    "nwfilter": "nwfilters",
    "network": "networks",
    "domain": "domains",
}
SHARED = "shared"
TEMPLATES = ("{{", "{%", "{#")


def told(facts: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]) -> Told:
    """One host, from the facts of `dos.vm.host_info` and the lists of the other `*_info` modules."""
    found = [_observed(kind, held) for kind, name in LISTS.items() for held in lists.get(name, ())]
    return Told(facts=decode(HostFacts, dict(facts)), observed={held.address: held for held in found})


def _observed(kind: KindName, held: Mapping[str, Any]) -> Observed:
    return Observed(
        address=Address(kind, str(held["name"])),
        xml=parse(str(held["xml"])),
        active=bool(held["active"]),
        autostart=bool(held["autostart"]),
        persistent=bool(held["persistent"]),
        ours=bool(held["ours"]),
        info={str(name): str(value) for name, value in held["info"].items()},
    )


def documents(exported: Exported, hosts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The name and text of each file: one for what several hosts share or no host has, and one per host."""
    yield f"{SHARED}.yml", document(exported, None)
    for host in hosts:
        name = host if host != SHARED else f"host-{host}"
        yield f"{name.replace('/', '-')}.yml", document(exported, host)


def document(exported: Exported, host: str | None) -> str:
    """One file. Each variable bears its file's name, so that all files can be loaded together."""
    suffix = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in host or SHARED)
    variables = {f"dos_{kind}__{suffix}": held for kind, held in exported.of_host(host).items()}
    body = yaml.dump(variables, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) if variables else "{}\n"
    return "\n".join(["---", *_remarks(exported, host), body])


def _remarks(exported: Exported, host: str | None) -> Iterator[str]:
    yield "# Written by dos.vm.export. It is yours now: change it, move it, give it to version control."
    for heading, listed in (("Left out", exported.left_out), ("Note", exported.notes)):
        for where, name, text in listed:
            if where == host:
                # A host chose these words. A line break in them would end the comment, and begin a variable.
                yield printable(f"# {heading}: {name} {' '.join(text.split())}")


class _Dumper(yaml.SafeDumper):
    """XML as blocks; text that looks like a template says that it is none."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # a person reads this, and two equal values may part ways


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    tag = "!unsafe" if any(mark in text for mark in TEMPLATES) else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def write(folder: Path, files: Iterable[tuple[str, str]], *, dry_run: bool) -> list[str]:
    """Write those that differ from what is there; their paths."""
    changed = []
    for name, text in files:
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        changed.append(str(path))
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return changed

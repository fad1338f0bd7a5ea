# SPDX-License-Identifier: GPL-3.0-or-later
"""What we keep on a host beside libvirt: a definition, a script that makes it so, and a unit that runs it when the host starts.

An object is a folder's worth of small files in `/etc/dos-vm/<kind>s`: `NAME.xml` is its definition, `NAME` the script that
takes `start` and `stop`. The script says all there is to do, so that a host needs nothing of ours to come up again, and
`start` may be run over what is there. The definition is written last and removed last: it is what makes the object exist.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import durable
from ..errors import DeclarationError, HypervisorError, InternalError
from ..model.address import Address, KindName
from ..plan.action import Action, Define, Start, Stop, Undefine
from ..plan.plan import Observed
from ..xml.build import parse
from ..xml.common import mark_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ETC = Path("/etc/dos-vm")
UNITS = Path("/etc/systemd/system")
WANTED_BY = "multi-user.target.wants"
DEFINITION = ".xml"
PATIENCE = 120.0  # seconds for a script
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

UNIT = """\
# Made by dos.vm.
[Unit]
Description={title} %i of dos.vm
Wants=network-pre.target
After=network-pre.target networking.service systemd-networkd.service NetworkManager.service openvswitch-switch.service openvswitch.service{after}
Before=libvirtd.service virtnetworkd.service virtqemud.service libvirt-guests.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {folder}/%i start

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True, slots=True)
class State:
    """What runs of an object: in the form of its definition, and what the form does not say; no form for one that is broken."""

    live: Element | None
    info: dict[str, str]


@dataclass(frozen=True, slots=True)
class Keeper:
    """What is different about each kind.

    `files` makes of a definition the texts that lie beside it, by what follows the object's name; the script is that of the
    empty suffix. `states` looks at what runs of all the definitions at once. `at_boot` tells whether the object starts with
    the host. Files with the suffixes of `readable` may be read by everybody. `before` and `done` are called around what is done
    to an object that is defined.
    """

    kind: KindName
    title: str
    files: Callable[[Element], Mapping[str, str]]
    states: Callable[[Mapping[str, Element]], Mapping[str, State]]
    at_boot: Callable[[Element], bool] = lambda definition: True
    after: str = ""
    readable: tuple[str, ...] = ()
    before: Callable[[Element, Action], None] = lambda definition, action: None
    done: Callable[[Element, Action], None] = lambda definition, action: None

    @property
    def folder(self) -> Path:
        return ETC / f"{self.kind}s"

    @property
    def unit(self) -> str:
        return f"dos-vm-{self.kind}@"


def observe(keeper: Keeper, site: str) -> Iterator[Observed]:
    """Every object of a kind, in one look at the kernel however many there are."""
    if not keeper.folder.is_dir():
        return
    definitions = {name: definition_of(keeper, name) for name in sorted(names(keeper))}
    states = keeper.states(definitions) if definitions else {}
    for name, definition in definitions.items():
        state = states.get(name)
        yield Observed(
            address=Address(keeper.kind, name),
            xml=definition,
            live=state.live if state else None,
            active=state is not None and state.live is not None,
            autostart=_wanted(keeper, name).is_symlink(),
            ours=(mark_of(definition) or {}).get("site") == site,
            info=state.info if state else {},
        )


def names(keeper: Keeper) -> frozenset[str]:
    """The objects of a kind."""
    return frozenset(path.stem for path in keeper.folder.glob(f"*{DEFINITION}"))


def definition_of(keeper: Keeper, name: str) -> Element:
    """The definition of an object that is there. Raises `HypervisorError` where the file is none any more."""
    file = keeper.folder / f"{name}{DEFINITION}"
    try:
        return parse(file.read_text(), path="")
    except DeclarationError as refused:
        advice = "delete it, and the next run writes it again; a bridge that is up is taken over with dos_adopt: true"
        raise HypervisorError(f"read {file}", f"{refused}; {advice}") from None


def define(keeper: Keeper, name: str, xml: str) -> None:
    """Write an object down, and whether it starts with the host."""
    definition = parse(xml)
    durable.folder(keeper.folder)
    texts = keeper.files(definition)
    for suffix, text in texts.items():
        _write(keeper.folder / f"{name}{suffix}", text, 0o644 if suffix in keeper.readable else 0o600)
    _write(UNITS / f"{keeper.unit}.service", _unit(keeper), 0o644)
    wanted = _wanted(keeper, name)
    wanted.unlink(missing_ok=True)
    if keeper.at_boot(definition):
        durable.folder(wanted.parent)
        wanted.symlink_to(f"../{keeper.unit}.service")
        durable.settle(wanted.parent)
    _write(keeper.folder / f"{name}{DEFINITION}", xml)
    for left in _files(keeper, name) - {*texts, DEFINITION}:
        (keeper.folder / f"{name}{left}").unlink(missing_ok=True)


def undefine(keeper: Keeper, name: str) -> None:
    """Forget an object; with the last one goes the unit."""
    _wanted(keeper, name).unlink(missing_ok=True)
    for suffix in sorted(_files(keeper, name), key=DEFINITION.__eq__):
        (keeper.folder / f"{name}{suffix}").unlink(missing_ok=True)
    if not list(keeper.folder.glob(f"*{DEFINITION}")):
        (UNITS / f"{keeper.unit}.service").unlink(missing_ok=True)
        with suppress(OSError):  # what others put there stays
            keeper.folder.rmdir()


def run(keeper: Keeper, name: str, verb: str) -> None:
    """Run an object's script. Raises `HypervisorError` with what it said."""
    command = ["/bin/sh", str(keeper.folder / name), verb]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, env=ENVIRONMENT, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise HypervisorError(f"{verb} {keeper.kind} {name}", f"not finished after {PATIENCE:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise HypervisorError(f"{verb} {keeper.kind} {name}", said or f"exit status {done.returncode}")


def perform(keeper: Keeper, action: Action) -> None:
    """Do one thing to an object."""
    name = action.address.name
    match action:
        case Define():
            define(keeper, name, action.xml)
        case Undefine():
            undefine(keeper, name)
        case Start() | Stop():
            definition = definition_of(keeper, name)
            keeper.before(definition, action)
            run(keeper, name, "start" if isinstance(action, Start) else "stop")
            keeper.done(definition, action)
        case _:
            raise InternalError(f"nothing performs {type(action).__name__} on a {keeper.kind}")


def _files(keeper: Keeper, name: str) -> set[str]:
    """The suffixes of what lies there for a name; names may have dots, and one may begin another."""
    others = {path.stem for path in keeper.folder.glob(f"{name}.*{DEFINITION}")} - {name}
    found = {path.name for path in keeper.folder.glob(f"{name}*")}
    mine = {file for file in found if file == name or file.startswith(f"{name}.")}
    return {
        file.removeprefix(name)
        for file in mine
        if not any(file == other or file.startswith(f"{other}.") for other in others)
    }


def _unit(keeper: Keeper) -> str:
    return UNIT.format(title=keeper.title, folder=keeper.folder, after=keeper.after)


def _wanted(keeper: Keeper, name: str) -> Path:
    # What `systemctl enable` would make; this way it is there for hosts that boot with systemd and are not running it now.
    return UNITS / WANTED_BY / f"{keeper.unit}{name}.service"


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """Whole or not at all: a host may lose its power at any moment."""
    durable.folder(path.parent)
    durable.write(path, text, mode)

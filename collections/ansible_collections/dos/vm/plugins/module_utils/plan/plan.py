# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan: what will happen to one object, why, and what it disturbs. A plan is shown, tested, then performed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..model.address import Address
from ..model.host import HostFacts
from ..model.slice import Permission
from ..xml.compare import Change
from .action import Action
from .disruption import Disruption

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from .devices import Device

Verdict = Literal["create", "change", "remove", "keep", "conflict", "left", "unmanaged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One object as the host has it now.

    `xml` is the persistent definition, `live` that of the running object where it may differ (domains, networks). `ours`
    says whether it bears our mark. `saved` is the domain whose memory is on disk, as it goes on with the next start. `info` holds what XML does not say, by name: a volume's `path`, a domain's `state`.
    """

    address: Address
    xml: Element
    live: Element | None = None
    saved: Element | None = None
    active: bool = False
    autostart: bool = False
    persistent: bool = True
    ours: bool = False
    info: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """By path, or by `pool/name` for a volume that is gone: the layers `over` a file, the file `below` it, the machines defined with
    it (`opened`), also through layers, and the volume that it is (`volumes`). `names` has the one path that is used here for a file
    that has several. `named` has a domain for every file or volume that any definition, or any running domain, names anywhere in
    its disks, or is layered over.
    """

    over: Mapping[str, Sequence[str]] = field(default_factory=dict)
    below: Mapping[str, str] = field(default_factory=dict)
    opened: Mapping[str, Sequence[Address]] = field(default_factory=dict)
    named: Mapping[str, Address] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)

    def stack(self, path: str) -> tuple[str, ...]:
        """A file and all that it is layered over, top first."""
        found = [self.names.get(path, path)]
        while (below := self.below.get(found[-1])) and below not in found:
            found.append(below)
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plan depends on besides the object itself."""

    site: str
    host: HostFacts
    permission: Permission
    observed: dict[Address, Observed] = field(default_factory=dict)  # everything on the host
    digests: dict[str, str] = field(default_factory=dict)  # of the secret values this run brought along, by name
    pool_paths: dict[str, str] = field(default_factory=dict)  # directories of the declared pools, by name
    layers: Layers = field(default_factory=Layers)
    pool_types: dict[str, str] = field(default_factory=dict)  # and what kind each is
    devices: dict[str, Device] = field(default_factory=dict)  # block devices that pools are to stand on, by path
    elsewhere: frozenset[str] = frozenset()  # volumes that other hosts declare: `pool/name`, or `pool/*`
    waits: frozenset[str] = frozenset()  # machines that are not started yet, since they come after others
    known: Mapping[str, str] = field(
        default_factory=dict
    )  # volumes that were there before, `pool/name`, each with the reason
    inventory_host: str = ""  # what the inventory calls the host
    shared_pools: frozenset[str] = frozenset()  # in which several hosts have the same volumes
    awaited: Mapping[str, str] = field(default_factory=dict)  # volumes, `pool/name`, that another host makes
    deleted_after: Mapping[str, str] = field(
        default_factory=dict
    )  # volumes, `pool/name` or `pool/*`, and what they wait for
    outdated: frozenset[Address] = (
        frozenset()
    )  # volumes whose replacement is blocked: domains keep what they say of them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """A difference, with what it disturbs."""

    change: Change
    disruption: Disruption


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be done to one object.

    `actions` will be performed; `withheld` would be, if the permission named in `needs` were given; `pending` waits for the
    next start of a running guest. `reason` says why nothing is done when nothing is; `problem` why nothing can be. `notes` are
    what a person should know of the object as it is, such as a change that was made outside dos.vm, though no action follows. `behind`
    are the objects whose own plans come first: where one of them fails, this is not attempted. `partners` are
    the machines with which it exchanges volumes: all let go of what they give before any takes. `blocked_by` are missing
    objects that it waits for. A `deferred` plan is decided in the run itself, when its pool has started.
    """

    address: Address
    verdict: Verdict
    changes: tuple[PlannedChange, ...] = ()
    actions: tuple[Action, ...] = ()
    withheld: tuple[Action, ...] = ()
    needs: str = ""
    pending: tuple[PlannedChange, ...] = ()
    before: str = ""
    after: str = ""
    reason: str = ""
    problem: str = ""
    notes: tuple[str, ...] = ()
    origin: str = ""
    behind: tuple[Address, ...] = ()
    partners: tuple[Address, ...] = ()
    blocked_by: tuple[Address, ...] = ()
    deferred: bool = False

    @property
    def disruption(self) -> Disruption:
        """The largest of what will be done."""
        return max((action.disruption for action in self.actions), default=Disruption.NONE)

    @property
    def empty(self) -> bool:
        return not self.actions

# SPDX-License-Identifier: GPL-3.0-or-later
"""The store, as the action plugins find it: by `dos_store`, or beside the inventory."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.memory import NOTHING, Memory
from ansible_collections.dos.vm.plugins.module_utils.compile.states import HostState
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError
from ansible_collections.dos.vm.plugins.module_utils.intent.power import Order
from ansible_collections.dos.vm.plugins.module_utils.model.host import StoreState
from ansible_collections.dos.vm.plugins.module_utils.store.lineage import refuse_older
from ansible_collections.dos.vm.plugins.module_utils.store.store import Store, open_store, read_store
from ansible_collections.dos.vm.plugins.module_utils.store.url import PATH, beside

NONE = "none"


def url_of(templar: Any, variables: Mapping[str, Any], site: str, hosts: Iterable[str]) -> str | None:
    """The URL of the site's store; `None` where it is to have none, or there is no inventory to put one beside."""
    given = templar.template(variables.get(PATH))
    if given is None:
        folders = (variables["hostvars"].get(host, {}).get("inventory_dir") for host in hosts)
        folder = next((held for held in folders if held), None)
        return beside(Path(str(folder)), site) if folder else None
    if not isinstance(given, str) or not given:
        raise DeclarationError.at(PATH, "is not a URL, write one in quotes, or none (what is there is not shown)")
    return None if given == NONE else str(given)


def actor(templar: Any, variables: Mapping[str, Any]) -> str:
    """Who this is: `dos_actor`, or whoever runs the playbook."""
    given = templar.template(variables.get("dos_actor"))
    return str(given) if given else os.environ.get("SUDO_USER") or getpass.getuser()


@contextmanager
def opened(url: str | None, site: str, *, write: bool) -> Iterator[Store | None]:
    """The store; `None` where there is none. Nothing is made or changed unless it is to be written to."""
    store = None if url is None else open_store(url, site=site) if write else read_store(url, site=site)
    try:
        yield store
    finally:
        if store is not None:
            store.close()


def moment(store: Store | None) -> float:
    """Now, by the clock that all controllers of the site share, or by this controller's where there is no store."""
    return time.time() if store is None else store.now()


def notes_of(states: Mapping[str, HostState], site: str) -> Iterator[tuple[str, StoreState]]:
    """What hosts noted of the store of a site."""
    for host, state in states.items():
        if (seen := (state.facts.stores or {}).get(site)) is not None:
            yield str(host), seen


def refuse_restored(store: Store | None, states: Mapping[str, HostState], site: str) -> None:
    """Raises `StoreError` where a host has seen the store further than it is."""
    if store is not None:
        refuse_older(store.name, store.lineage.read(), notes_of(states, site))


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a store has to say to whoever decides."""

    memory: Memory = NOTHING
    orders: tuple[Order, ...] = ()
    now: float | None = None  # the store's time, by which its overrides end


def remembered(store: Store | None) -> Remembered:
    """What it remembers; nothing where there is none."""
    return Remembered() if store is None else Remembered(store.memory(), tuple(store.orders.power()), store.now())

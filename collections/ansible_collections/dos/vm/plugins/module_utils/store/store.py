# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: the one thing that all controllers and daemons of a site share. It may be lost: `recover` makes it anew.

    with closing(open_store("mysql+pymysql://…", site="shop")) as store:
        store.placements.claim(…)

An SQLite file does for one controller. Several need MariaDB, and for a store that outlives a machine, Galera (DB-05).
"""

from __future__ import annotations

from ..compile.memory import NOTHING, Memory
from ..errors import StoreError
from ._sql import sa
from .clock import now
from .engine import Database
from .events import Events
from .evidence import Proofs
from .hosts import Hosts
from .leases import Leases
from .lineage import Lineage
from .loads import Loads
from .orders import Orders
from .pending import Pending
from .placements import Placements
from .runs import Runs
from .schema import HEAD, upgrade, version
from .tables import Tables
from .url import parse
from .used import Used


class Store:
    """An open store, one attribute for each thing it keeps. Any method may raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        tables = Tables()
        self._database, self._meta = database, tables.meta
        self.name = database.name
        self.hosts = Hosts(database, tables)
        self.placements = Placements(database, tables)
        self.pending = Pending(database, tables)
        self.orders = Orders(database, tables)
        self.events = Events(database, tables)
        self.runs = Runs(database, tables)
        self.leases = Leases(database, tables)
        self.loads = Loads(database, tables)
        self.proofs = Proofs(database, tables)
        self.used = Used(database, tables)
        self.lineage = Lineage(database, tables)

    def now(self) -> float:
        """The database's time: what controllers write down and compare is of this clock."""
        return self._database.read("read the store's clock", now)

    def site(self) -> str | None:
        """Whose store it is."""
        query = sa.select(self._meta.c.value).where(self._meta.c.name == "site")
        return self._database.read("look up whose store it is", lambda connection: connection.scalar(query))

    def memory(self) -> Memory:
        """What compile needs to know of earlier runs."""
        records, dead = self.hosts.all(), self.proofs.dead()
        known = {host.name: (host.facts or {}).get("known_volumes") for host in records}
        known |= {host: (evidence.detail or {}).get("volumes") for host, evidence in dead.items()}
        return Memory(
            placements=self.placements.all(),
            surveyed=frozenset(host.name for host in records if host.surveyed is not None),
            dead=frozenset(dead),
            identities={host.name: host.uuid for host in records},
            volumes={host: frozenset(volumes) for host, volumes in known.items() if volumes},
        )

    def close(self) -> None:
        self._database.close()


def open_store(url: str, *, site: str) -> Store:
    """The store of a site to read and write; made, or brought up to date, if need be.

    Raises `DeclarationError` for a URL that is none, `StoreError` for one that cannot be used, that belongs to another site,
    or that a newer dos.vm has upgraded.
    """
    database = Database(parse(url))
    upgrade(database, site)
    return _checked(database, site)


def read_store(url: str, *, site: str) -> Store | None:
    """The store of a site, never written to; `None` where there is none yet. Raises as `open_store`, and for older tables."""
    database = Database(parse(url), write=False)
    found = version(database)
    if found is None:
        return None
    if found != HEAD:
        text = (
            f"its tables are of version {found} and this dos.vm wants {HEAD}; dos.vm.store or dos.vm.site upgrades them"
        )
        raise StoreError(f"read the store {database.name}", text)
    return _checked(database, site)


def _checked(database: Database, site: str) -> Store:
    store = Store(database)
    found = store.site()
    if found != site:
        text = f"it is the store of site {found}, not of {site}; write another dos_store, or the right dos_site"
        raise StoreError(f"use the store {database.name}", text)
    return store


__all__ = ["NOTHING", "Store", "open_store", "read_store"]

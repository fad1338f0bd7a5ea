# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine's console for a visitor: a password that ends by itself, laid on the running console and never on the definition.

So nothing has to be tidied up: the password ends in QEMU, and the machine's next start has the declared one. See
https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainUpdateDeviceFlags.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._thirdparty import libvirt
from ..errors import ConflictError
from ..model.console import Visit
from ..xml.build import compact, parse
from ..xml.common import absent, not_of
from .connection import saying
from .libvirt import LibvirtHypervisor
from .power import state_of

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Where a console is, seen from its host. `until` is when its password ends, in UTC; empty where there is none of ours."""

    type: str = ""
    address: str = ""
    port: int = 0
    until: str = ""
    done: str = ""
    note: str = ""


def visit(asked: Visit, hypervisor: LibvirtHypervisor, *, dry_run: bool, now: float) -> Console:
    """Open or close a console. Raises `ConflictError` where there is none to visit; `now` is in seconds since 1970."""
    values = [asked.password.encode()] if asked.password else []
    with saying(f"{asked.order} the console of domain {asked.vm}", values), hypervisor.lock():
        domain = hypervisor._connection.lookupByName(asked.vm)
        live = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
        if why := not_of(asked.site, live):
            raise ConflictError(f"domain {asked.vm} {why}")
        if (state := state_of(domain)) not in ("running", "paused"):
            raise ConflictError(f"domain {asked.vm} is {state}: only what runs has a console, start it first (VM-27)")
        graphics = live.find("devices/graphics")
        if graphics is None:
            return Console(note="has no remote console, only its serial one")
        if not graphics.get("passwd"):
            note = "was started without a password, and can be given none: whoever is on the host may look"
            return _where(graphics, note=note)
        if asked.order == "close":
            return _close(domain, graphics, dry_run)
        return _open(asked, domain, graphics, dry_run, now)


def _open(asked: Visit, domain: Any, graphics: Element, dry_run: bool, now: float) -> Console:
    if asked.password is None:
        raise ConflictError(f"no password was given for the console of {asked.vm}")
    until = f"{datetime.fromtimestamp(now + asked.seconds, UTC):%Y-%m-%dT%H:%M:%S}"
    if not dry_run:
        _lay(domain, graphics, asked.password, until, connected="keep")
    return _where(graphics, until=until, done="has been given a password")


def _close(domain: Any, graphics: Element, dry_run: bool) -> Console:
    """The declared password comes back, with its own end; who is connected is not."""
    inactive = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
    defined = parse(domain.XMLDesc(inactive)).find(f"devices/graphics[@type='{graphics.get('type')}']")
    password, until = absent(defined, "passwd"), absent(defined, "passwdValidTo")
    if (password, until) == (graphics.get("passwd"), graphics.get("passwdValidTo")):
        return _where(graphics, note="has its declared password")
    if password is None:
        raise ConflictError("its definition has no password any longer: it has none after its next start")
    if not dry_run:
        _lay(domain, graphics, password, until, connected="disconnect")
    return _where(graphics, done="has its declared password again")


def _lay(domain: Any, graphics: Element, password: str, until: str | None, *, connected: str) -> None:
    given = deepcopy(graphics)
    given.set("passwd", password)
    given.attrib.pop("passwdValidTo", None)
    if until:
        given.set("passwdValidTo", until)
    # For VNC libvirt knows no `disconnect`, and silence does not keep either.
    given.attrib.pop("connected", None)
    if connected == "keep" or given.get("type") == "spice":
        given.set("connected", connected)
    domain.updateDeviceFlags(compact(given), libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _where(graphics: Element, **more: str) -> Console:
    listen = absent(graphics.find("listen"), "address") or graphics.get("listen") or "127.0.0.1"
    port = next((port for name in ("port", "tlsPort") if (port := int(graphics.get(name) or -1)) > 0), 0)
    return Console(type=graphics.get("type", ""), address=EVERYWHERE.get(listen, listen), port=port, **more)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible front end: arguments in, one call of the library, plain data out. No other file of the library knows Ansible.

A module is documentation and `run(Network)`. What it takes is the declaration of its kind, by reflection, and what every
module takes (`model/front.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

from ._thirdparty import require
from .apply import Outcome, converge, remove
from .errors import DeclarationError, DosVmError, Problem, VerificationError
from .hypervisor.leases import leases
from .hypervisor.libvirt import LibvirtHypervisor
from .hypervisor.open_disks import Place
from .hypervisor.protocol import Hypervisor
from .model.address import Address, Mark
from .model.argument_spec import Spec, argument_spec, fields_of
from .model.decode import decode, encode
from .model.domain import Domain
from .model.front import Connection, Existence, HostRun, Looking, Query, SecretValue, SecretValues
from .model.secret import Secret
from .model.slice import Permission, Slice
from .model.types import Name
from .model.volume import Volume
from .plan.describe import brief, described
from .plan.host import libvirts_own
from .plan.kinds import KINDS, Kind
from .plan.layers import disk_names
from .plan.plain import difference, plain, says_nothing
from .plan.plan import Observed, Plan
from .xml.attachments import interfaces, written
from .xml.common import mark_of
from .xml.orders import read as read_orders

Act = Callable[..., Outcome]
Result = dict[str, Any]

# What a kind's module takes beside its declaration. Values never are part of one.
EXTRA: Mapping[type[Any], type[Any]] = {Secret: SecretValue, Domain: SecretValues}
# By what an object is found; the rest need not be said to remove it.
IDENTITY: Mapping[type[Any], tuple[str, ...]] = {Volume: ("name", "pool")}
# Who owns the object is the module's own `site`.
OWN = frozenset(["mark"])


class Module(AnsibleModule):  # type: ignore[misc]  # Ansible has no types
    """An `AnsibleModule` that reports everything that is wrong with its arguments, not the first thing."""

    def __init__(self, spec: Mapping[str, Spec], check: Callable[[Mapping[str, Any]], object], **how: Any) -> None:
        self._check: Callable[[Mapping[str, Any]], object] | None = check
        super().__init__(argument_spec=dict(spec), supports_check_mode=True, **how)
        self._check = None

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """Fail. While the arguments are being checked, in our words if we have any."""
        check, self._check = self._check, None
        if check is not None:
            msg = _problems(check, self.params) or msg
        super().fail_json(msg=msg, **result)
        raise AssertionError("fail_json ends the process")


def _problems(check: Callable[[Mapping[str, Any]], object], params: Mapping[str, Any]) -> str:
    try:
        check(params)
    except DeclarationError as refused:
        return str(refused)
    return ""


# ------------------------------------------------------------------------------------------------------ one object


def run(model: type[Any]) -> None:
    """A module that declares one object."""
    kind = _kind(model)
    required = [name for name, option in argument_spec(model).items() if option.get("required")]
    module = Module(
        object_spec(model),
        partial(_check, kind),
        required_if=[("state", "present", required)],
    )
    report(module, lambda: _run(kind, module))


def object_spec(model: type[Any]) -> dict[str, Spec]:
    """What the module of a kind takes."""
    own = {name: option for name, option in argument_spec(model).items() if name not in OWN}
    for name in own.keys() - _identity(model):
        own[name].pop("required", None)
    extra = argument_spec(EXTRA[model]) if model in EXTRA else {}
    return {**own, **extra, **argument_spec(Existence), **argument_spec(Connection)}


def _run(kind: Kind, module: Module) -> Result:
    params = module.params
    address = _address(kind, params)
    act: Act
    if params["state"] == "absent":
        act = partial(remove, address, site=params["site"], stop_timeout=params.get("stop_timeout"))
    else:
        held = decode(Slice, {"site": params["site"]})
        only: dict[str, Any] = {kind.held: (_marked(_declared(kind, params), held.site),)}
        act = partial(converge, replace(held, **only), secrets=_secrets(kind, params))
    outcome = _perform(module, act)
    plans = tuple(plan for plan in outcome.plans if plan.address == address)
    for note in (note for plan in plans for note in plan.notes):
        module.warn(f"{address}: {note}")
    found = outcome.observed.get(address)
    return {**_result(module, outcome, plans), kind.name: None if found is None else _found(found)}


def _check(kind: Kind, params: Mapping[str, Any]) -> None:
    """Raise with all that is wrong with the arguments, whichever declaration they belong to."""
    problems: list[Problem] = []
    for model in (Existence, Connection):
        names = {field.name for field in fields_of(model)}
        problems += _wrong(partial(decode, model, {name: given(params[name]) for name in names & params.keys()}))
    problems += _wrong(partial(_declared, kind, params))
    if problems:
        raise DeclarationError(problems)


def _wrong(check: Callable[[], object]) -> tuple[Problem, ...]:
    try:
        check()
    except DeclarationError as refused:
        return refused.problems
    return ()


def _declared(kind: Kind, params: Mapping[str, Any]) -> Any:
    """The declaration among the arguments. What else was given must be known to the module, or is reported with the rest."""
    others = object_spec(kind.model).keys() - {field.name for field in fields_of(kind.model)}
    return decode(kind.model, {name: given(value) for name, value in params.items() if _said(name, value, others)})


def _said(name: str, value: object, others: Iterable[str]) -> bool:
    return value is not None and name not in others and not name.startswith("_ansible")


def given(value: Any) -> Any:
    """The value without what was not given: Ansible fills in nothing for every option it knows."""
    if isinstance(value, Mapping):
        return {name: given(held) for name, held in value.items() if held is not None}
    return [given(held) for held in value] if isinstance(value, list) else value


def _marked(declared: Any, site: Name) -> Any:
    """A network or domain that nobody owns yet is the site's."""
    owned = hasattr(declared, "mark") and declared.mark is None
    return replace(declared, mark=Mark(site=site)) if owned else declared


def _secrets(kind: Kind, params: Mapping[str, Any]) -> dict[str, bytes]:
    if kind.model is Secret:
        return {} if params["value"] is None else {params["name"]: _bytes(params["value"])}
    return {name: _bytes(value) for name, value in (params.get("secrets") or {}).items()}


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _found(observed: Observed) -> Result:
    return {**brief(observed), "uuid": observed.xml.findtext("uuid"), "info": dict(observed.info)}


# ------------------------------------------------------------------------------------------------------ a whole host


def run_host() -> None:
    """The module that brings a whole host to its slice in one call, or without one only looks at it.

    Both in one module, so that a run which looks first sends one payload to each host and not two.
    """
    module = Module(host_spec(), lambda params: _slice(params.get("slice") or {}))
    looks = module.params["slice"] is None
    report(module, lambda: {"changed": False, **_look_at_host(module)} if looks else _run_host(module))


def host_spec() -> dict[str, Spec]:
    """What the `host` module takes."""
    return {**argument_spec(HostRun), **argument_spec(SecretValues)}


def _run_host(module: Module) -> Result:
    secrets = {name: _bytes(value) for name, value in (module.params["secrets"] or {}).items()}
    held = _slice(module.params["slice"])
    outcome = _perform(module, partial(converge, held, secrets=secrets, seconds=module.params["seconds"]))
    # Ansible sends a module's arguments back with its answer; a slice of a thousand objects is better not travelling twice.
    told = {name: value for name, value in module.params.items() if name not in ("slice", "secrets")}
    return {
        **_result(module, outcome, outcome.plans),
        "facts": {"domains": _domains(outcome.observed)},
        "invocation": {"module_args": told},
    }


def _slice(data: object) -> Slice:
    held = decode(Slice, data, path="slice")
    return replace(
        held,
        bridges=tuple(_marked(bridge, held.site) for bridge in held.bridges),
        gateways=tuple(_marked(gateway, held.site) for gateway in held.gateways),
        networks=tuple(_marked(network, held.site) for network in held.networks),
        domains=tuple(_marked(domain, held.site) for domain in held.domains),
    )


# ------------------------------------------------------------------------------------------------------ looking


def run_info(model: type[Any]) -> None:
    """A module that lists the objects of one kind."""
    kind = _kind(model)
    module = Module(info_spec(), lambda params: None)
    report(module, lambda: {"changed": False, kind.held: _look(kind, module)})


def info_spec() -> dict[str, Spec]:
    """What the `*_info` modules take."""
    return {**argument_spec(Query), **argument_spec(Connection)}


def _look(kind: Kind, module: Module) -> list[Result]:
    with closing(LibvirtHypervisor(module.params["uri"])) as hypervisor:
        found = hypervisor.observe(module.params["site"])
    return [
        described(observed)
        for address, observed in sorted(found.items())
        if address.kind == kind.name and _asked_for(observed, module.params)
    ]


def _asked_for(observed: Observed, query: Mapping[str, Any]) -> bool:
    """Filters combine with AND; a name matches in part (IAC-07)."""
    part, ours = query["name"], query["ours"]
    return (part is None or part in observed.address.name) and (ours is None or ours == observed.ours)


def run_host_info() -> None:
    """The module that tells what a host has and can do."""
    module = Module(argument_spec(Looking), lambda params: None)
    report(module, lambda: {"changed": False, **_look_at_host(module)})


def _look_at_host(module: Module) -> Result:
    with closing(LibvirtHypervisor(module.params["uri"])) as hypervisor:
        found = hypervisor.observe(module.params["site"])
        facts, handed_out = hypervisor.facts(), leases(hypervisor)
    return {
        **_health(module, found),
        "facts": encode(facts),
        "ours": [str(address) for address in sorted(found) if found[address].ours],
        "unmanaged": [
            str(address) for address in sorted(found) if not found[address].ours and not libvirts_own(address)
        ],
        "domains": _domains(found, Place(module.params["uri"])),
        "pools": [
            {**brief(pool), **{size: _number(pool, size) for size in ("capacity", "allocation", "available")}}
            for pool in _of(found, "pool")
        ],
        "networks": [
            {
                **brief(network),
                "leases": handed_out.get(network.address.name, []),
                "reservations": _reservations(network),
            }
            for network in _of(found, "network")
        ],
        "gateways": [{**brief(gateway), "reservations": _reservations(gateway)} for gateway in _of(found, "gateway")],
        "tunnels": [tunnel for bridge in _of(found, "bridge") if bridge.ours for tunnel in _tunnels(bridge)],
        "volumes": [
            {**brief(volume), **volume.info, "backing": volume.xml.findtext("backingStore/path")}
            for volume in _of(found, "volume")
        ],
        "missing_files": [path for path in module.params.get("files") or () if not os.path.exists(path)],
        "nwfilters": [brief(nwfilter) for nwfilter in _of(found, "nwfilter")],
        "secrets": [brief(secret) for secret in _of(found, "secret")],
    }


def _health(module: Module, found: Mapping[Address, Observed]) -> Result:
    if not module.params.get("health"):
        return {}
    from .hypervisor.health import health  # only a status asks

    return {"health": health(module.params["uri"], found.values())}


def _reservations(held: Observed) -> list[Result]:
    """The addresses that a network or gateway has for somebody."""
    hosts = held.xml.iterfind("ip/dhcp/host")
    return [{name: host.get(name) for name in ("mac", "ip", "name")} for host in hosts if host.get("ip")]


def _tunnels(bridge: Observed) -> list[Result]:
    """The tunnel of a bridge with every peer that it has or is defined with."""
    shapes = [xml.find("vxlan") for xml in (bridge.xml, bridge.live) if xml is not None]
    tunnels = [tunnel for tunnel in shapes if tunnel is not None]
    peers = {peer.get("address") for tunnel in tunnels for peer in tunnel.iterfind("peer")}
    return [
        {
            "bridge": bridge.address.name,
            "id": int(tunnel.get("id", "0")),
            "port": int(tunnel.get("port", "4789")),
            "local": tunnel.get("local"),
            "peers": sorted(peers),
        }
        for tunnel in tunnels[:1]
    ]


def _domains(found: Mapping[Address, Observed], place: Place | None = None) -> list[Result]:
    """The domains. With a `place` it is also told what the disks of the running ones are."""
    ports = ((bridge.address.name, bridge.xml.find("port")) for bridge in _of(found, "bridge"))
    switches = {name: port.get("switch", "") for name, port in ports if port is not None}
    return [
        {
            **brief(domain),
            "state": domain.info.get("state", "running" if domain.active else "shut off"),
            "uuid": domain.xml.findtext("uuid"),
            "orders": _orders(domain),
            "vcpus": _number(domain, "vcpu"),
            "id": None if domain.live is None else domain.live.get("id"),
            # What it was given, not what it may grow to; libvirt always answers in KiB.
            "memory": (_number(domain, "currentMemory") or _number(domain, "memory") or 0) * 1024,
            **{
                name: (mark_of(domain.xml) or {}).get(name)
                for name in ("project", "origin", "epoch", "created", "image")
            },
            "macs": [mac.get("address", "").lower() for mac in domain.xml.iterfind("devices/interface/mac")],
            "console": _console(domain),
            "disks": sorted(set(disk_names(domain))),
            **({"interfaces": list(interfaces(_now(domain), switches))} if domain.ours else {}),
            **({"writes": list(_writes(domain, found, place))} if domain.ours or domain.active else {}),
        }
        for domain in _of(found, "domain")
    ]


def _now(domain: Observed) -> Any:
    """A domain as it runs, or as it is defined."""
    return domain.xml if domain.live is None else domain.live


def _writes(domain: Observed, found: Mapping[Address, Observed], place: Place | None) -> Iterator[Result]:
    """What it may write to, and where that leads on this host if it runs."""
    for disk in written(_now(domain)):
        volume = found.get(Address("volume", f"{disk['pool']}/{disk['name']}")) if disk["pool"] else None
        path = disk["name"] if volume is None else volume.info.get("path", "")
        is_told = place is not None and domain.active and path.startswith("/")
        yield {**disk, **(place.described(path) if place is not None and is_told else {})}


def _orders(domain: Observed) -> Result | None:
    """What was ordered of a VM besides its declaration; its power override as `power`, and all of them as `overrides`."""
    orders = read_orders(domain.xml)
    if orders.empty:
        return None
    newest = asdict(orders.newest) if orders.newest else {}
    whole = {**asdict(orders), **{name: newest.get(name) for name in ("power", "until", "against", "by")}}
    return {name: value for name, value in whole.items() if value not in (None, "", ())}


def _console(domain: Observed) -> str | None:
    """Where the first remote console of a running machine listens."""
    graphics = None if domain.live is None else domain.live.find("devices/graphics")
    if graphics is None or graphics.get("port", "-1") == "-1":
        return None
    return f"{graphics.get('type')}://{graphics.get('listen', '127.0.0.1')}:{graphics.get('port')}"


def _of(found: Mapping[Address, Observed], kind: str) -> list[Observed]:
    return [observed for address, observed in sorted(found.items()) if address.kind == kind]


def _number(observed: Observed, tag: str) -> int | None:
    text = observed.xml.findtext(tag)
    return int(text) if text and text.strip().isdigit() else None


# ------------------------------------------------------------------------------------------------------ the edge


def _kind(model: type[Any]) -> Kind:
    return next(kind for kind in KINDS.values() if kind.model is model)


def _identity(model: type[Any]) -> tuple[str, ...]:
    return IDENTITY.get(model, ("name",))


def _address(kind: Kind, params: Mapping[str, Any]) -> Address:
    parts = [str(params[name]) for name in reversed(_identity(kind.model))]
    return Address(kind.name, "/".join(parts))


def _perform(module: Module, act: Act) -> Outcome:
    params = module.params
    more = {name: params[name] for name in ("prune", "adopt") if name in params}
    permission = decode(Permission, {**given(params["allow"] or {}), **more}, path="allow")
    hypervisor: Hypervisor
    with closing(LibvirtHypervisor(params["uri"])) as hypervisor:
        return act(hypervisor=hypervisor, permission=permission, dry_run=module.check_mode)


def _result(module: Module, outcome: Outcome, plans: tuple[Plan, ...]) -> Result:
    told = [plan for plan in plans if not says_nothing(plan)]
    for _, why in outcome.unanswered:
        module.warn(why)
    result: Result = {
        "changed": outcome.changed,
        "plans": [plain(plan) for plan in told],
        "kept": len(plans) - len(told),
        "performed": list(outcome.performed),
        "failures": [{"object": name, "reason": why} for name, why in outcome.failures],
        "unanswered": [{"object": name, "reason": why} for name, why in outcome.unanswered],
        "remaining": outcome.remaining,
        "upcoming": outcome.upcoming,
    }
    if module._diff:
        result["diff"] = [difference(plan) for plan in told if plan.before != plan.after]
    return result


def report(module: Module, work: Callable[[], Result]) -> NoReturn:
    """Do the work and end the process; the one place where an error of ours becomes a failed task."""
    try:
        require("libvirt", "lxml")
        result = work()
    except DosVmError as refused:
        # Verified last: then everything was done, and the task must not look as if nothing had been.
        changed = isinstance(refused, VerificationError)
        module.fail_json(msg=str(refused), changed=changed, error=type(refused).__name__, retryable=refused.retryable)
    if result.get("failures"):
        listed = "\n".join(f"{failed['object']}: {failed['reason']}" for failed in result["failures"])
        module.fail_json(msg=listed, error="HypervisorError", retryable=True, **result)
    module.exit_json(**result)
    raise AssertionError("exit_json ends the process")

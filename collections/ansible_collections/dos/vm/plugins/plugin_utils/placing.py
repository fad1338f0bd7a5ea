# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is where and who should be, from Ansible's variables: the site, what the hosts told, and the operator's own filters."""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.compile.placing import Situation, situation
from ansible_collections.dos.vm.plugins.module_utils.compile.states import HostState
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError
from ansible_collections.dos.vm.plugins.module_utils.placement.plugins import own_filters, own_weighers
from ansible_collections.dos.vm.plugins.module_utils.placement.policy import Policy, policy
from ansible_collections.dos.vm.plugins.module_utils.site.placement import Placement
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.plugin_utils.site import FACTS, SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import Remembered, opened, remembered, url_of

FILE, SAVE = "dos_facts_file", "dos_facts_save"
KEPT = ("facts", "domains", "pools", "volumes")  # of what a host tells; all that placement reads


def read_situation(
    templar: Any, variables: Mapping[str, Any], *, failed: Mapping[str, Iterable[str]] | None = None
) -> Situation:
    """The decisions for every machine of the site, with what the store remembers. Nothing is written. Raises `DosVmError`."""
    site = SiteReader(templar, variables).load(check=False)
    with opened(url_of(templar, variables, site.name, site.hosts), site.name, write=False) as store:
        held = remembered(store)
    return situate(site, variables, failed=failed, held=held)


def situate(
    site: Site,
    variables: Mapping[str, Any],
    *,
    failed: Mapping[str, Iterable[str]] | None = None,
    held: Remembered = Remembered(),  # noqa: B008 -- it is frozen
    states: Mapping[str, HostState] | None = None,
    on: frozenset[str] = frozenset(),
    prune: bool = False,
) -> Situation:
    """As `read_situation`, for a site that was read, or changed, already, and with what is `held` in memory.

    `on` and `prune` are as for `situation`. `states` is what the hosts told, where that was read already, or changed.
    """
    states = read_states(variables, site.hosts) if states is None else states
    how = declared_policy(site.placement, variables)
    return situation(
        site,
        states,
        now=_now(held),
        how=how,
        failed=failed,
        memory=held.memory,
        orders=held.orders,
        on=on,
        prune=prune,
        unasked=unasked(variables, site.hosts, states),
    )


def _now(held: Remembered) -> float:
    """The time by which power overrides end: the store's, and nothing that it knows is in its future; else the controller's."""
    if held.now is None:
        return time.time()
    return max([held.now, *(order.at for order in held.orders)])


def unasked(variables: Mapping[str, Any], hosts: Iterable[str], states: Mapping[str, HostState]) -> frozenset[str]:
    """The hosts that a limit leaves out of this run (`--limit`, `dos_limit`)."""
    asked = variables.get("ansible_play_hosts_all") or ()
    everything = frozenset(map(str, hosts))
    if variables.get(FILE) or everything.isdisjoint(asked):
        return frozenset()
    return everything.difference(asked, states)


def read_states(variables: Mapping[str, Any], hosts: Iterable[str]) -> dict[str, HostState]:
    """What each host told of itself; one that did not answer is left out."""
    return host_states(told(variables, hosts), hosts)


def told(variables: Mapping[str, Any], hosts: Iterable[str]) -> Mapping[str, Any]:
    """What the hosts told of themselves: in this run, or in the file that `dos_facts_file` names."""
    if not variables.get(FILE):
        if variables.get(SAVE):
            _save(Path(str(variables[SAVE])), {host: variables["hostvars"].get(host, {}).get(FACTS) for host in hosts})
        return variables
    file = Path(str(variables[FILE]))
    try:
        saved: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        raise DeclarationError.at(FILE, f"{file} cannot be read: {broken}") from broken
    return {"hostvars": {host: {FACTS: saved.get(host) or {}} for host in hosts}}


def _save(file: Path, answers: Mapping[str, Any]) -> None:
    """Write down what the hosts told, for `dos_facts_file` of another run."""
    plain = {host: {key: told[key] for key in KEPT if key in told} for host, told in answers.items() if told}
    file.write_text(json.dumps(plain, indent=1, default=str) + "\n", encoding="utf-8")


def declared_policy(placement: Placement, variables: Mapping[str, Any]) -> Policy:
    """The site's policy, with the filters and weighers of its plugins."""
    base = Path(str(variables.get("inventory_dir") or variables.get("playbook_dir") or "."))
    files = [base / name for name in placement.plugins]
    defined = [(str(file), _run(file)) for file in files]
    return policy(
        placement,
        [row for file, held in defined for row in own_filters(held, file)],
        [row for file, held in defined for row in own_weighers(held, file)],
    )


def _run(file: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(file))
    except Exception as broken:  # whatever an operator's file does is theirs to read, with its name
        text = f"{file} cannot be read: {type(broken).__name__}: {broken}"
        raise DeclarationError.at("dos_placement.plugins", text) from broken

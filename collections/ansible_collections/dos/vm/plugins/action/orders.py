# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.orders`: which machines an order is for, where they are, and what is declared of them. Nothing is contacted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.compile.machine import Machine, machines
from ansible_collections.dos.vm.plugins.module_utils.compile.recall import Recall
from ansible_collections.dos.vm.plugins.module_utils.compile.starts import at_once, steps
from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, DosVmError, Problem
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.plugin_utils.admission import refuse_starts
from ansible_collections.dos.vm.plugins.plugin_utils.placing import unasked
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.registry import introduced, without_foreign
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader, host_states
from ansible_collections.dos.vm.plugins.plugin_utils.store import opened, remembered, url_of

SELECTORS = ("vms", "instances", "projects")
BEGINNING = ("start", "restore", "resume")  # what brings a VM up
RISING = (*BEGINNING, "rollback")  # what may bring a VM up that does not run
ENDING = ("stop", "save", "suspend")  # those that come after others go before them


class ActionModule(ActionBase):
    """Returns `hosts`: by host the `names` of the machines that were selected, and what is `declared` of each."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"order", *SELECTORS})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result, variables = super().run(tmp, task_vars), task_vars or {}
        arguments = self._task.args
        try:
            reader = SiteReader(self._templar, variables)
            site = reader.load(check=False)
            found, order = machines(site), str(arguments["order"])
            chosen = _chosen(found, {name: _words(arguments.get(name)) for name in SELECTORS})
            where = _where(chosen, self._recall(site, variables), order)
            names = frozenset(str(machine.name) for machine in chosen)
            rising = order in RISING
            limits = refuse_starts(self._templar, variables, reader, site, names) if rising else {}
        except DosVmError as error:
            return {**result, **refused(error, read=True)}
        hosts: defaultdict[str, dict[str, Any]] = defaultdict(lambda: {"names": [], "declared": {}})
        for machine in chosen:
            held = hosts[where[machine.name]]
            held |= limits.get(where[machine.name], {})
            held["names"].append(str(machine.name))
            held["declared"][str(machine.name)] = "on" if machine.declared_on else "off"
        placed = {str(machine.name): (where[machine.name], machine) for machine in chosen}
        in_order = order in (*BEGINNING, *ENDING)
        waves = steps(found, placed, beginning=order in BEGINNING) if in_order else (at_once(placed),)
        return {**result, "changed": False, "hosts": dict(hosts), "steps": [wave.plain() for wave in waves]}

    def _recall(self, site: Site, variables: Mapping[str, Any]) -> Recall:
        """What the hosts that answered have, beside what the store remembers."""
        states = host_states(variables, site.hosts)
        with opened(url_of(self._templar, variables, site.name, site.hosts), site.name, write=False) as store:
            memory = remembered(store).memory
            hosts = introduced(store, states, memory)
            memory = replace(memory.renamed(hosts.renamed), foreign=frozenset(hosts.foreign))
        return Recall(memory, without_foreign(states, hosts), site.hosts, unasked(variables, site.hosts, states))


def _words(written: Any) -> list[str]:
    """`a,b` as well as a list."""
    listed = written.replace(",", " ").split() if isinstance(written, str) else written or ()
    return [str(word) for word in listed]


def _chosen(found: Iterable[Machine], named: Mapping[str, list[str]]) -> list[Machine]:
    """The machines of any of the names. Raises with every name that selects nothing."""
    listed = list(found)
    if not any(named.values()):
        raise DeclarationError.at(
            "", "no machine is named, write -e dos_vms=NAME, dos_instances_of=NAME or dos_projects_of=NAME"
        )
    traits = {
        "vms": lambda machine: str(machine.name),
        "instances": lambda machine: str(machine.instance_name),
        "projects": lambda machine: str(machine.instance.project),
    }
    problems = [
        Problem("", f"{name} is none of the site's {kind}")
        for kind, names in named.items()
        for name in names
        if not any(traits[kind](machine) == name for machine in listed)
    ]
    if problems:
        raise DeclarationError(problems)
    return [machine for machine in listed if any(traits[kind](machine) in names for kind, names in named.items())]


def _where(chosen: Iterable[Machine], recall: Recall, order: str) -> dict[str, str]:
    """The host that each of the VMs is operated on. Raises with every one that none can be, or that may not be brought up."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for machine in chosen:
        if order in BEGINNING and not machine.active:  # VM-17
            what = "its instance is disabled" if not machine.instance.enabled else "its project is not active"
            problems.append(Problem(machine.path, f"cannot be brought up: {what} (VM-17)"))
            continue
        try:
            found[machine.name] = recall.operand(machine.name)
        except DeclarationError as refused:
            problems += [Problem(machine.path, problem.text) for problem in refused.problems]
    if problems:
        raise DeclarationError(problems)
    return found

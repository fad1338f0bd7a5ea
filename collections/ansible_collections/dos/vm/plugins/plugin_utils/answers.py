# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers, cut to what its module documents.

Ansible acts on keys of a result whatever module it comes from: `ansible_facts` become variables that outrank the inventory,
`add_host` adds hosts to the play. A broken host can answer anything, so nothing but documented keys goes on. What the controller
decides by is decoded as well: a host whose answer is nonsense is unreachable, and the run goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, printable
from ansible_collections.dos.vm.plugins.module_utils.model.answer import Applied, Looked
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.plugin_utils.returned import RETURNED

FEW = 3  # problems of an answer that its message names

# What every module may answer; https://docs.ansible.com/ansible-core/devel/reference_appendices/common_return_values.html
COMMON = frozenset(
    {
        "_ansible_parsed",
        "changed",
        "deprecations",
        "error",
        "retryable",
        "diff",
        "exception",
        "failed",
        "invocation",
        "module_stderr",
        "module_stdout",
        "msg",
        "rc",
        "skipped",
        "unreachable",
        "warnings",
        # what is left of long work, see patience.py
        "percent",
        "remaining",
        "running",
        "step",
        # of a module that brings objects to their declaration, see module.py
        "failures",
        "kept",
        "performed",
        "plans",
        "unanswered",
        "upcoming",
        # of a task with `async`
        "ansible_job_id",
        "finished",
        "results_file",
        "started",
    }
)


def documented(module: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an answer that the module `dos.vm.NAME` documents."""
    known = COMMON | RETURNED[module.rpartition(".")[2]]
    return {key: value for key, value in answer.items() if key in known}


def checked(module: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer if it has the shape that the module promises, else that its host is unreachable, and why."""
    kind = _shape(module.rpartition(".")[2], answer)
    if kind is None:
        return dict(answer)
    try:
        decode(kind, answer)
    except DeclarationError as wrong:
        return {"changed": False, "unreachable": True, "msg": f"the host answers nonsense: {_few(wrong)}"}
    return {key: value for key, value in answer.items() if value is not None}


def _shape(name: str, answer: Mapping[str, Any]) -> type[Any] | None:
    if name not in ("host", "host_info") or answer.get("unreachable") is True or "ansible_job_id" in answer:
        return None
    return Applied if answer.get("failed") or answer.get("skipped") or "plans" in answer else Looked


def _few(wrong: DeclarationError) -> str:
    more = len(wrong.problems) - FEW
    listed = [printable(str(problem)) for problem in wrong.problems[:FEW]]
    return "; ".join([*listed, *([f"and {more} more"] if more > 0 else [])])


class HostAction(ActionBase):
    """An action that asks a host. It reaches a module through `ask` alone."""

    _supports_check_mode = True

    def ask(self, module: str, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the module answers on the host of the task."""
        answer = self._execute_module(
            module_name=module,
            module_args=dict(arguments),
            task_vars=dict(variables),
            wrap_async=bool(self._task.async_val),
        )
        return checked(module, documented(module, answer))


class PlainAction(HostAction):
    """Controller's side of a module that needs no other: the module, and its documented answer."""

    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        return {**result, **self.ask(self._task.action, self._task.args, variables)}

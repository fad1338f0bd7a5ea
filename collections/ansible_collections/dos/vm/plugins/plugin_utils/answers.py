# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers, cut to what its module documents.

Ansible acts on keys of a result whatever module it comes from: `ansible_facts` become variables that outrank the inventory,
`add_host` adds hosts to the play. A broken host can answer anything, so nothing but documented keys goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.plugin_utils.returned import RETURNED

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
        return documented(module, answer)


class PlainAction(HostAction):
    """Controller's side of a module that needs no other: the module, and its documented answer."""

    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        return {**result, **self.ask(self._task.action, self._task.args, variables)}

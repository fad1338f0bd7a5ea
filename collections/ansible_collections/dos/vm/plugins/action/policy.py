# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.policy`: holds what changed in the declaration against the rights of whoever changed it. Contacts no host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError, DosVmError
from ansible_collections.dos.vm.plugins.module_utils.site.difference import ObjectChange
from ansible_collections.dos.vm.plugins.module_utils.site.policy import Refusal, check
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.plugin_utils.inventory import PATH, History, read_site
from ansible_collections.dos.vm.plugins.plugin_utils.refusal import refused
from ansible_collections.dos.vm.plugins.plugin_utils.shown import Display
from ansible_collections.dos.vm.plugins.plugin_utils.site import SiteReader

SHORT = 10  # digits of a commit
display = Display()


@dataclass(frozen=True)
class Step:
    """One change of the site, and who made it."""

    what: str
    actor: str
    before: Site
    after: Site
    unsigned: bool = False


class ActionModule(ActionBase):
    """Returns the changes and the refusals; fails when there are any."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"before", "actor", "confirm", "signed"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "before": {"default": "HEAD"},
                "actor": {"default": ""},
                "confirm": {"type": "list", "elements": "str", "default": []},
                "signed": {"type": "bool", "default": False},
            }
        )
        try:
            steps = list(self._steps(arguments, task_vars or {}))
            told = [self._told(step, arguments["confirm"]) for step in steps]
        except DosVmError as error:
            return {**result, **refused(error)}
        changes = [change for held, _ in told for change in held]
        refusals = [refusal for _, held in told for refusal in held]
        number = f"{len(changes)} change{'' if len(changes) == 1 else 's'}"
        message = f"{number}, all of them allowed"
        if refusals:
            message = "\n".join(
                [f"{number}, {len(refusals)} of which may not be made", *(one["text"] for one in refusals)]
            )
        else:
            display.display(message, color="bright blue")
        return {
            **result,
            "changed": False,
            "changes": changes,
            "refusals": refusals,
            "failed": bool(refusals),
            "msg": message,
        }

    def _steps(self, arguments: dict[str, Any], variables: dict[str, Any]) -> Iterator[Step]:
        now = SiteReader(self._templar, variables).load(check=False)
        sources = variables.get("ansible_inventory_sources") or ()
        if len(sources) != 1:
            raise DeclarationError.at(PATH, f"takes one inventory, and this run has {len(sources)}")
        history = History(Path(str(sources[0])))
        given = Path(arguments["before"])
        if given.is_absolute() or given.exists():
            yield Step(f"since {given}", arguments["actor"] or history.me(), self._read(given), now)
            return
        if not history.is_there():
            text = f"{sources[0]} is in no git repository, write the path of an inventory to compare with"
            raise DeclarationError.at(PATH, text)
        yield from self._commits(history, arguments)
        if not history.is_clean():
            with history.at("HEAD") as before:
                old = self._read(before)
            yield Step("not committed", arguments["actor"] or history.me(), old, now)

    def _commits(self, history: History, arguments: dict[str, Any]) -> Iterator[Step]:
        """Each commit by its own author: rights are those at the time, and of two people neither has the other's."""
        for commit in history.commits(arguments["before"]):
            with history.at(history.parent(commit)) as old, history.at(commit) as new:
                before, after = self._read(old), self._read(new)
            # Who is named stands in for every author: a forge knows whose change it merges.
            actor = arguments["actor"] or history.author(commit)
            unsigned = arguments["signed"] and history.signature(commit) not in ("G", "U")
            yield Step(f"commit {commit[:SHORT]}", actor, before, after, unsigned)

    def _read(self, inventory: Path) -> Site:
        vault = getattr(self._loader, "_vault", None)
        return read_site(inventory, list(getattr(vault, "secrets", None) or ()))

    @staticmethod
    def _told(step: Step, confirmed: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The changes and refusals of a step as plain data; shown as they are found."""
        changes, refusals = check(step.before, step.after, step.actor, confirmed)
        display.display(f"{step.what}, by {step.actor or 'nobody'}")
        if step.unsigned and changes:
            text = f"{step.what} bears no signature that git accepts, and its author could be anybody"
            refusals = (*refusals, Refusal("", "commit_is_signed", text))
        wrong = {refusal.path for refusal in refusals}
        for change in changes:
            display.display(f"  {_sign(change)} {change.path}", color="red" if change.path in wrong else None)
            for field in change.fields:
                display.display(f"      {field}")
        return (
            [
                {
                    "step": step.what, "actor": step.actor, "path": change.path, "op": change.op,
                    "fields": [str(field) for field in change.fields],
                }
                for change in changes
            ],
            [
                {"step": step.what, "actor": step.actor, "path": held.path, "rule": held.rule, "text": str(held)}
                for held in refusals
            ],
        )  # fmt: skip


def _sign(change: ObjectChange) -> str:
    return {"add": "+", "remove": "-", "modify": "~"}[change.op]

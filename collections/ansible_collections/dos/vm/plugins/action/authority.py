# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.authority`: the certificate authorities on the controller, made and replaced step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.dos.vm.plugins.module_utils.errors import ConflictError, DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.certificate import Authorities, AuthorityRun
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.pki import authority
from ansible_collections.dos.vm.plugins.plugin_utils.pki import HELD, arguments_for, hosts_of, passphrase

SENTENCE = {
    "made": "has been made",
    "announced": "has a successor, which hosts are told to trust",
    "put in charge": "has been succeeded; run this again, and hosts get certificates of the new one",
    "forgotten": "before the present one has been forgotten; run this again, and hosts no longer trust it",
}
WAITS = "is being replaced, and waits for {}"


class ActionModule(ActionBase):
    """Takes at most one step for each authority; what hosts must do in between is in the role."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset([*argument_spec(Authorities), *argument_spec(AuthorityRun)])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        try:
            declared = decode(Authorities, arguments_for(Authorities, self._task.args))
            asked = decode(AuthorityRun, arguments_for(AuthorityRun, self._task.args))
            steps = list(self._steps(declared, asked, variables))
            if not self._task.check_mode:
                self._take(steps, declared, asked, variables)
            trusted = [set(authority.Authority.load(declared, name).bundle) for name in asked.names]
        except DosVmError as error:
            return {**result, "failed": True, "msg": str(error)}
        told = [f"authority {name} {SENTENCE.get(step, step)}" for name, step in steps]
        return {
            **result,
            "changed": any(step in SENTENCE for _, step in steps),
            "msg": "; ".join(told) or "the authorities are as they should be",
            "steps": {str(name): step for name, step in steps},
            "shared": sum(map(len, trusted)) > len(set().union(*trusted)),
        }

    def _steps(
        self, declared: Authorities, asked: AuthorityRun, variables: Mapping[str, Any]
    ) -> Iterator[tuple[str, str]]:
        """Each authority of ours with its step, or with a sentence that says whom it waits for."""
        life = authority.Life(asked.days, asked.renew_before, _day(asked.since))
        for name in (name for name in asked.names if name not in (declared.supplied or {})):
            if not asked.advance:
                if not self._task.check_mode:
                    authority.finish(declared, name)
                step = authority.first_step(declared, name, life, authority.now())
                yield from [(name, step)] if step else []
                continue
            held, absent = _held(name, variables)
            step = authority.next_step(
                declared, name, [one["trusts"] for one in held], [one["issuers"] for one in held]
            )
            if step and absent:
                yield name, WAITS.format(", ".join(absent))
            elif step:
                yield name, step

    def _take(
        self, steps: list[tuple[str, str]], declared: Authorities, asked: AuthorityRun, variables: Mapping[str, Any]
    ) -> None:
        secret = passphrase(self._templar, variables)
        for name, step in steps:
            if step in ("made", "announced") and not secret and not asked.plain_key:
                raise ConflictError(
                    "the authority's key is kept under a pass phrase: set tls_ca_passphrase, in a vault; or say "
                    "tls_ca_plain_key: true where anybody who can read the folder may be any host"
                )
            if step in SENTENCE:
                authority.take(step, declared, name, days=asked.days, passphrase=secret, now=authority.now())


def _held(name: str, variables: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """What hosts have of an authority, and the hosts that are not known to have done all they were asked in this play."""
    held, absent = [], []
    for host in hosts_of(variables):
        told = (variables["hostvars"][host].get(HELD) or {}).get("authorities")
        if told and host in variables.get("ansible_play_hosts", ()):
            held.append(told[name])
        else:
            absent.append(host)
    return held, absent


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ConflictError(f"since: {text!r} is not a day, write it like 2026-11-21") from None

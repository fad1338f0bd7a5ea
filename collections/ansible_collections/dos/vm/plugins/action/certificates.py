# SPDX-License-Identifier: GPL-3.0-or-later
"""`dos.vm.certificates`: the certificates of a host, decided and signed on the controller, with keys that stay on the host.

One call looks. Only where something must be issued a second has keys made, and a third puts what was signed in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.dos.vm.plugins.module_utils.errors import ConflictError, DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.certificate import Authorities, CertificateRun, Holding
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode, encode
from ansible_collections.dos.vm.plugins.module_utils.pki import authority, certificate, x509
from ansible_collections.dos.vm.plugins.plugin_utils.answers import HostAction
from ansible_collections.dos.vm.plugins.plugin_utils.pki import arguments_for, hosts_of, passphrase

ADDRESSES = ("ansible_host", "dos_address", "tls_address")  # variables of a host


@dataclass(frozen=True, slots=True)
class Finding:
    """A certificate as it is and as it should be; `reasons` say why another one is needed."""

    holding: Holding
    authority: authority.Authority
    fields: Mapping[str, str]
    found: Mapping[str, Any]
    wanted: certificate.Wanted
    reasons: tuple[str, ...]

    @property
    def bundle(self) -> str:
        return "".join(self.authority.bundle)


class ActionModule(HostAction):
    """Makes a host's certificates what they should be, and says why each was issued."""

    _supports_check_mode = True
    _VALID_ARGS = frozenset([*argument_spec(Authorities), *argument_spec(CertificateRun)])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        try:
            declared = decode(Authorities, arguments_for(Authorities, self._task.args))
            asked = decode(CertificateRun, arguments_for(CertificateRun, self._task.args))
            told = self._files(variables, asked.holdings)
            found = list(_findings(declared, asked, told, variables))
            wrong = [finding for finding in found if finding.reasons]
            changes = bool(wrong) or any(map(_is_loose, found))
            pending: list[str] = []
            if changes and not self._task.check_mode:
                pending = self._issue(declared, asked, found, variables)
                found = list(_findings(declared, asked, self._files(variables, asked.holdings), variables))
        except DosVmError as error:
            return {**result, "failed": True, "msg": str(error)}
        result |= {
            "changed": changes,
            "issued": {str(finding.holding.certificate): list(finding.reasons) for finding in wrong},
            "authorities": _authorities(found),
            "ends": min((_ends(finding) for finding in found), default=""),
        }
        if self._task.diff:
            result["diff"] = list(_differences(wrong, found, predicted=bool(self._task.check_mode)))
        if pending:
            result |= {
                "failed": True,
                "msg": f"to be signed elsewhere, and put into the folder issued: {', '.join(pending)}",
            }
        return result

    def _issue(
        self, declared: Authorities, asked: CertificateRun, found: list[Finding], variables: dict[str, Any]
    ) -> list[str]:
        """Has keys made, signs, installs. The certificates that only somebody else can sign, as paths of their requests."""
        host, secret, now = variables["inventory_hostname"], passphrase(self._templar, variables), authority.now()
        wrong = [finding for finding in found if finding.reasons]
        files = {
            finding.holding.trusted: {"path": finding.holding.trusted, "text": finding.bundle}
            for finding in found
            if not _is_trusting(finding)
        }
        requests = (
            self._files(variables, asked.holdings, asked=[_asked(finding, declared.bits) for finding in wrong])[
                "requests"
            ]
            if wrong
            else []
        )
        pending = []
        for finding, request in zip(wrong, requests, strict=True):
            label = f"{host}-{finding.holding.usage}"
            signed = finding.authority.issue(
                request, finding.fields, finding.wanted, bits=declared.bits, label=label, passphrase=secret, now=now
            )
            if signed is None:
                pending.append(str(finding.authority.requests / "requests" / f"{label}.pem"))
                continue
            files[finding.holding.certificate] = {
                "path": finding.holding.certificate, "text": signed, "key": finding.holding.key,
            }  # fmt: skip
        self._files(variables, asked.holdings, installed=list(files.values()), restore=True)
        return pending

    def _files(self, variables: dict[str, Any], holdings: Iterable[Holding], **more: Any) -> dict[str, Any]:
        arguments = {"holdings": [encode(holding) for holding in holdings], **more}
        told = self.ask("dos.vm.certificate_files", arguments, variables)
        if told.get("failed") or told.get("unreachable"):
            raise ConflictError(str(told.get("msg")))
        return told


def _findings(
    declared: Authorities, asked: CertificateRun, told: Mapping[str, Any], variables: Mapping[str, Any]
) -> Iterator[Finding]:
    names = certificate.names_of(asked.names, [told["nodename"]], _names_of_others(variables))
    now = authority.now()
    for holding, found in zip(asked.holdings, told["holdings"], strict=True):
        held = authority.Authority.load(declared, holding.authority)
        # Where libvirt is told whom to let in, it must be able to tell its own from QEMU's.
        common_name = f"{variables['inventory_hostname']} {holding.authority}"
        fields = {**authority.subject_fields(declared), "common_name": common_name}
        wanted = certificate.Wanted(
            subject=x509.spelled(fields), names=names, usage=holding.usage, margin=timedelta(days=asked.renew_before),
            ends=min(now + timedelta(days=asked.days), held.ends() or datetime.max.replace(tzinfo=now.tzinfo)),
        )  # fmt: skip
        reasons = certificate.reasons(
            x509.read(found["certificate"]), wanted, public_key=found["public_key"],
            signed=held.has_issued(found["certificate"]) if x509.read(found["certificate"]) else False, now=now,
        )  # fmt: skip
        yield Finding(holding, held, fields, found, wanted, tuple(reasons))


def _names_of_others(variables: Mapping[str, Any]) -> Iterator[str]:
    """Every name and address that the inventory has for another host."""
    for host in hosts_of(variables):
        if host != variables["inventory_hostname"]:
            declared = variables["hostvars"][host]
            yield host
            yield from (str(declared[name]) for name in ADDRESSES if declared.get(name))
            yield from map(str, declared.get("tls_names") or ())


def _is_trusting(finding: Finding) -> bool:
    return bool(finding.found["trusted"] == finding.bundle)


def _is_loose(finding: Finding) -> bool:
    """Whether anything but the certificate itself is to be put right."""
    return bool(finding.found["loose"]) or not _is_trusting(finding)


def _asked(finding: Finding, bits: int) -> dict[str, Any]:
    return {
        "key": finding.holding.key, "group": finding.holding.group, "usage": finding.holding.usage, "bits": bits,
        "subject": x509.as_argument(finding.fields), "names": sorted(finding.wanted.names),
    }  # fmt: skip


def _authorities(found: list[Finding]) -> dict[str, dict[str, list[str]]]:
    """By authority, the fingerprints of those trusted, and of those that issued what is held."""
    names = {finding.holding.authority for finding in found}
    return {
        str(name): {
            "trusts": sorted(
                set.intersection(
                    *(
                        {x509.fingerprint(one) for one in x509.split(finding.found["trusted"])}
                        for finding in found
                        if finding.holding.authority == name
                    )
                )
            ),
            "issuers": sorted(
                {
                    finding.authority.issuer_of(finding.found["certificate"])
                    if x509.read(finding.found["certificate"])
                    else ""
                    for finding in found
                    if finding.holding.authority == name
                }
            ),
        }
        for name in names
    }


def _ends(finding: Finding) -> str:
    held = x509.read(finding.found["certificate"])
    return held.ends.isoformat() if held is not None else ""


def _differences(wrong: list[Finding], after: list[Finding], *, predicted: bool) -> Iterator[dict[str, str]]:
    now_held = {finding.holding.certificate: finding for finding in after}
    for finding in wrong:
        path = finding.holding.certificate
        held = x509.read(finding.found["certificate"])
        new = None if predicted else x509.read(now_held[path].found["certificate"])
        yield {
            "before_header": path,
            "after_header": path,
            "before": certificate.described(held) if held else "",
            "after": certificate.described(new) if new else "".join(f"issued anew: {why}\n" for why in finding.reasons),
        }

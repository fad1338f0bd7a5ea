# SPDX-License-Identifier: GPL-3.0-or-later
"""The role dos.vm.tls on two hosts: who can call whom, read from the hosts themselves and asked of OpenSSL."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces.host import Host
from namespaces.inventory import render
from namespaces.lab import TREE, Lab

from dosvm.model.certificate import Authorities
from dosvm.model.types import AbsolutePath
from dosvm.pki import authority

PLAYBOOK = TREE / ".venv" / "bin" / "ansible-playbook"
SECRET = "words-that-nobody-else-says"
SERVER = "/etc/pki/libvirt/servercert.pem"
KEYS = {
    "/etc/pki/libvirt/private/serverkey.pem": "600 root root",
    "/etc/pki/libvirt/private/clientkey.pem": "600 root root",
    "/etc/pki/qemu/server-key.pem": "640 root libvirt-qemu",
    "/etc/pki/qemu/client-key.pem": "640 root libvirt-qemu",
}
CONF = "/etc/libvirt/libvirtd.conf"
GUEST = """<domain type='qemu'><name>guest</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


class Role:
    """The role, applied over ssh to two hosts of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.one, self.two = lab.hosts()
        self.variables: dict[str, Any] = {"tls_key_bits": 2048}

    def play(self, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        (self.folder / "group_vars").mkdir(exist_ok=True)
        (self.folder / "group_vars" / "all.yml").write_text(yaml.safe_dump({**self.variables, **variables}))
        command = [str(PLAYBOOK), "-i", str(self.folder), "dos.vm.tls", *words]
        return self.lab.ctl(*command, cwd=TREE)

    def apply(self, *words: str, **variables: Any) -> tuple[dict[str, int], str]:
        """How many tasks changed something on each host, and what a play said that must succeed, on one line."""
        ended = self.play(*words, **variables)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        changed = {host: int(number) for host, number in re.findall(r"^(h\d) .* changed=(\d+)", ended.stdout, re.M)}
        return changed, " ".join(ended.stdout.split())

    def refuse(self, *words: str, **variables: Any) -> str:
        """What a play says that must fail, on one line."""
        ended = self.play(*words, **variables)
        assert ended.returncode, ended.stdout
        return " ".join(ended.stdout.split())


def openssl(host: Host, path: str, *words: str) -> str:
    return host.run("openssl", "x509", "-noout", "-in", path, *words).stdout.strip()


def serial(host: Host, path: str = SERVER) -> str:
    return openssl(host, path, "-serial")


def presented(host: Host) -> str:
    """The serial number of what a running libvirtd shows its callers."""
    script = f"openssl s_client -connect {host.address}:16514 </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return host.run("sh", "-c", script).stdout.strip()


def call(host: Host, other: Host, *, transport: str = "tls") -> subprocess.CompletedProcess[str]:
    return host.run("virsh", "-c", f"qemu+{transport}://{other.address}/system", "hostname", check=False)


def is_let_in(host: Host, other: Host, folder: str) -> bool:
    """Whether libvirt welcomes a caller with the certificate of a folder; virsh would not even try a wrong one."""
    script = f"""
import socket, ssl
context = ssl.create_default_context(cafile="/etc/pki/CA/cacert.pem")
{f'context.load_cert_chain("{folder}/clientcert.pem", "{folder}/clientkey.pem")' if folder else ""}
plain = socket.create_connection(("{other.address}", 16514), timeout=30)
try:
    print(context.wrap_socket(plain, server_hostname="{other.address}").recv(1) == bytes([1]))
except ssl.SSLError as refused:
    print(False)
"""
    return host.run("python3", "-c", script).stdout.strip() == "True"


def pid(host: Host) -> str:
    return host.run("systemctl", "show", "--property=MainPID", "--value", "libvirtd.service").stdout.strip()


@pytest.fixture(scope="module")
def role(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    """Two hosts, and an authority for libvirt that was made five days ago."""
    lab = Lab(f"v{os.getpid()}")
    try:
        lab.up(2)
        folder = tmp_path_factory.mktemp("tls")
        (folder / "hosts.yml").write_text(render(lab, 2))
        declared = Authorities(folder=AbsolutePath(str(folder / ".pki")), bits=2048)
        when = authority.now() - timedelta(days=5)
        authority.take("made", declared, "libvirt", days=3650, passphrase=SECRET, now=when)
        yield Role(lab, folder)
    finally:
        lab.down()


@pytest.fixture(scope="module")
def applied(role: Role) -> str:
    """The output of the first run, as talkative as it can be."""
    changed, output = role.apply("-vvv", "--diff", tls_ca_passphrase=SECRET)
    assert min(changed.values())
    return output


# Before


def test_an_authority_without_a_pass_phrase_is_only_made_when_asked_for(role: Role) -> None:
    assert "set tls_ca_passphrase, in a vault" in role.refuse()
    assert not (role.folder / ".pki" / "qemu").exists()


def test_check_mode_tells_and_does_not(role: Role) -> None:
    changed, output = role.apply("--check", tls_ca_passphrase=SECRET)
    assert min(changed.values())
    assert f"{SERVER} would be issued: there is none" in output
    assert role.one.run("test", "-e", "/etc/pki/CA", check=False).returncode
    assert not (role.folder / ".pki" / "qemu").exists()


# Hosts that trust each other


def test_each_host_calls_the_other_and_nobody_else_is_let_in(role: Role, applied: str) -> None:
    """LVD-05."""
    for host, other in ((role.one, role.two), (role.two, role.one)):
        assert call(host, other).stdout.strip() == other.name
    script = """
        mkdir -p /tmp/own /tmp/foreign; cp /etc/pki/libvirt/clientcert.pem /etc/pki/libvirt/private/clientkey.pem /tmp/own
        cd /tmp/foreign; openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=h1 -keyout clientkey.pem -out clientcert.pem
    """
    role.one.run("sh", "-ec", script)
    assert is_let_in(role.one, role.two, "/tmp/own")
    assert not is_let_in(role.one, role.two, "/tmp/foreign")
    assert not is_let_in(role.one, role.two, "")


def test_what_a_guest_could_find_in_qemu_does_not_open_libvirt(role: Role, applied: str) -> None:
    script = """
        mkdir -p /tmp/qemu; cd /tmp/qemu
        cp /etc/pki/qemu/client-cert.pem clientcert.pem; cp /etc/pki/qemu/client-key.pem clientkey.pem
    """
    role.one.run("sh", "-ec", script)
    assert not is_let_in(role.one, role.two, "/tmp/qemu")
    for path, held in KEYS.items():
        may_read = role.one.run(
            "setpriv", "--reuid=libvirt-qemu", "--regid=libvirt-qemu", "--clear-groups", "cat", path, check=False
        )
        assert (may_read.returncode == 0) == held.endswith("libvirt-qemu")


def test_certificates_name_the_host_and_keys_are_closed(role: Role, applied: str) -> None:
    names = openssl(role.one, SERVER, "-ext", "subjectAltName")
    assert f"DNS:h1, IP Address:{role.one.address}" in names
    assert "TLS Web Server Authentication" in openssl(role.one, SERVER, "-ext", "extendedKeyUsage")
    told = role.one.run("stat", "--format=%n %a %U %G", *KEYS).stdout.splitlines()
    assert told == [f"{path} {held}" for path, held in KEYS.items()]


def test_no_key_and_no_pass_phrase_is_shown_or_left_on_the_controller(role: Role, applied: str) -> None:
    assert SECRET not in applied
    assert "PRIVATE KEY" not in applied
    held = [path for path in (role.folder / ".pki").rglob("*") if path.is_file()]
    for path in held:
        assert "BEGIN PRIVATE KEY" not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0 or "PRIVATE" not in path.read_text()
    assert sorted(path.name for path in held) == ["cacert.pem", "cacert.pem", "cakey.pem", "cakey.pem"]


def test_plain_tcp_is_closed(role: Role, applied: str) -> None:
    """TLS-04."""
    assert call(role.one, role.two, transport="tcp").returncode


def test_a_guest_moves_over_tls(role: Role, applied: str) -> None:
    """QEMU's own stream, with both ends verified by QEMU."""
    role.one.run("sh", "-c", f"cat > /tmp/guest.xml <<'E'\n{GUEST}\nE")
    role.one.run("virsh", "create", "/tmp/guest.xml")
    role.one.run("virsh", "migrate", "--live", "--p2p", "--tls", "guest", "qemu+tls://h2/system")
    assert role.two.run("virsh", "list", "--name").stdout.split() == ["guest"]
    role.two.run("virsh", "destroy", "guest")


# What changes later


def test_a_new_name_has_only_its_own_host_issued_anew_and_the_daemon_runs_on(role: Role, applied: str) -> None:
    before = {host.name: (serial(host), pid(host)) for host in (role.one, role.two) if presented(host)}
    names = "{{ ['web.example'] if inventory_hostname == 'h1' else [] }}"
    changed, output = role.apply(tls_names=names, tls_ca_passphrase=SECRET)
    assert changed["h1"]
    assert changed["h2"] == 0
    assert f"{SERVER} was issued: it does not name web.example" in output
    assert (serial(role.two), pid(role.two)) == before["h2"]
    assert serial(role.one) != before["h1"][0]
    assert presented(role.one) == serial(role.one)
    assert pid(role.one) == before["h1"][1]
    assert "DNS:web.example" in openssl(role.one, SERVER, "-ext", "subjectAltName")
    role.variables["tls_names"] = names


def test_within_its_margin_a_certificate_is_renewed(role: Role, applied: str) -> None:
    """And before that a run changes nothing, so it needs no pass phrase."""
    before = serial(role.one)
    assert role.apply(tls_days=400, tls_renew_before=364)[0] == {"h1": 0, "h2": 0}
    changed, _ = role.apply(tls_days=400, tls_renew_before=366, tls_ca_passphrase=SECRET)
    assert min(changed.values())
    assert serial(role.one) != before
    ends = datetime.strptime(openssl(role.one, SERVER, "-enddate"), "notAfter=%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert timedelta(days=399) < ends - datetime.now(UTC) <= timedelta(days=400)


def test_what_somebody_spoiled_is_put_right(role: Role, applied: str) -> None:
    script = f"""
        chmod 644 /etc/pki/libvirt/private/clientkey.pem
        openssl genrsa -out /etc/pki/qemu/server-key.pem 2048
        printf 'tls_no_verify_certificate = 1\\n' >> {CONF}
        systemctl restart libvirtd.service
    """
    role.one.run("sh", "-ec", script)
    assert is_let_in(role.one, role.one, "/tmp/foreign")
    changed, output = role.apply(tls_ca_passphrase=SECRET)
    assert (changed["h1"] > 0, changed["h2"]) == (True, 0)
    assert "/etc/pki/qemu/server-cert.pem was issued: it does not fit the key beside it" in output
    assert not is_let_in(role.one, role.one, "/tmp/foreign")
    told = role.one.run("stat", "--format=%n %a %U %G", *KEYS).stdout.splitlines()
    assert told == [f"{path} {held}" for path, held in KEYS.items()]


def test_a_host_that_lets_anybody_in_is_told_by_the_others(role: Role, applied: str) -> None:
    """The role is only applied to the other one's files: what it finds out, it finds by calling."""
    call_ = {"trusted": "/etc/pki/CA/cacert.pem", "port": 16514, "peers": [["h1", "", role.one.address]]}
    question = (TREE / "roles" / "tls" / "files" / "verify.py").read_text()

    def problems() -> list[str]:
        script = f"python3 - '{json.dumps(call_)}' <<'E'\n{question}\nE"
        found: list[str] = json.loads(role.two.run("sh", "-c", script).stdout)["problems"]
        return found

    assert problems() == []
    role.one.run("sh", "-ec", f"printf 'tls_no_verify_certificate = 1\\n' >> {CONF}; systemctl restart libvirtd")
    assert "lets in who has no certificate" in problems()[0]
    role.one.run("sh", "-ec", f"sed -i /^tls_no_verify/d {CONF}; systemctl restart libvirtd; hostname other")
    role.one.run("systemctl", "restart", "libvirtd")
    assert "calls itself other, and machines move to that name" in problems()[0]
    role.one.run("hostname", "h1")
    role.one.run("systemctl", "restart", "libvirtd")
    assert problems() == []


def test_an_old_authority_is_replaced_and_at_no_time_do_hosts_mistrust_each_other(role: Role, applied: str) -> None:
    """Each run ends with calls of all hosts to all others; a host that is away is waited for.

    Meanwhile plain TCP is opened, which must be asked for in every run.
    """
    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    issuer, trusted = openssl(role.one, SERVER, "-issuer"), role.one.run("cat", "/etc/pki/CA/cacert.pem").stdout
    _, output = role.apply("--limit", "h1", tls_ca_since=since, tls_ca_passphrase=SECRET)
    assert "authority libvirt has a successor" in output
    assert "is being replaced, and waits for h2" in output
    _, output = role.apply(tls_ca_since=since, tls_plain_tcp=True, tls_ca_passphrase=SECRET)
    assert "whoever can reach it is root on this host" in output
    assert call(role.one, role.two, transport="tcp").stdout.strip() == "h2"
    assert openssl(role.two, SERVER, "-issuer") == issuer
    assert "authority libvirt has been succeeded" in output
    _, output = role.apply(tls_ca_since=since, tls_ca_passphrase=SECRET)
    assert call(role.one, role.two, transport="tcp").returncode
    assert openssl(role.two, SERVER, "-issuer") != issuer
    assert "authority libvirt before the present one has been forgotten" in output
    role.apply(tls_ca_since=since)
    assert role.one.run("cat", "/etc/pki/CA/cacert.pem").stdout != trusted
    assert role.one.run("grep", "-c", "BEGIN", "/etc/pki/CA/cacert.pem").stdout.strip() == "1"
    assert role.apply(tls_ca_since=since)[0] == {"h1": 0, "h2": 0}


def test_one_authority_for_both_is_refused_until_clients_are_named(role: Role, applied: str) -> None:
    own = role.folder / ".pki" / "libvirt"
    both = {"qemu": {"certificate": str(own / "cacert.pem"), "key": str(own / "cakey.pem")}}
    assert "a guest that breaks out of QEMU" in role.refuse(tls_ca_supplied=both)
    role.apply(tls_ca_supplied=both, tls_ca_passphrase=SECRET, tls_allowed_clients=["CN=* libvirt"])
    assert call(role.one, role.two).returncode == 0
    script = "cp /etc/pki/qemu/client-cert.pem clientcert.pem; cp /etc/pki/qemu/client-key.pem clientkey.pem"
    role.one.run("sh", "-ec", f"cd /tmp/qemu; {script}")
    assert not is_let_in(role.one, role.two, "/tmp/qemu")

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles would do on distributions that we have no machine of: everything renders, and names the right things."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).resolve().parents[2]
ROLES = TREE / "collections" / "ansible_collections" / "dos" / "vm" / "roles"
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
#: What tasks would have set by the time the variables are used.
SEEN: dict[str, Any] = {
    "hypervisor_observed": {"known_hosts": [], "authorized_keys": [], "host_keys": ["ssh-ed25519 AAAA"], "root_key": ""},
    "tls_ca_passphrase": "unused",
}
WANTED = ("_hypervisor_question", "_hypervisor_known_hosts", "_tls_question", "_tls_holdings", "_tls_names", "_tls_call")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By family, the variables that decide, as Ansible makes them of defaults and `vars/`."""
    folder = tmp_path_factory.mktemp("families")
    plays = [play(folder, family) for family in ("debian", "redhat")]
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    hosts = {"dos_hosts": {"hosts": {"h1": {"ansible_host": "192.0.2.1", "ansible_port": 2222, **SEEN}}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    command = [str(PLAYBOOK), "-i", str(folder / "hosts.yml"), str(folder / "play.yml")]
    ended = subprocess.run(command, cwd=TREE, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return {family: json.loads((folder / f"{family}.json").read_text()) for family in ("debian", "redhat")}


def play(folder: Path, family: str) -> dict[str, Any]:
    files = [ROLES / role / part for role in ("hypervisor", "tls") for part in ("defaults/main.yml", "vars/main.yml", f"vars/{family}.yml")]
    wanted = ", ".join(f"'{name}': {name}" for name in WANTED)
    return {
        "hosts": "dos_hosts",
        "gather_facts": False,
        "connection": "local",
        "vars_files": [str(file) for file in files],
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{"copy": {"dest": str(folder / f"{family}.json"), "content": "{{ {" + wanted + "} | to_json }}"}}],
    }


@pytest.mark.parametrize(
    ("family", "daemon", "group", "package"),
    [("debian", "libvirtd", "libvirt-qemu", "libvirt-daemon-system"), ("redhat", "virtproxyd", "qemu", "libvirt-daemon-kvm")],
)
def test_each_family_has_its_daemon_its_group_and_its_packages(
    rendered: dict[str, dict[str, Any]], family: str, daemon: str, group: str, package: str
) -> None:
    held = rendered[family]
    assert held["_tls_question"]["service"] == f"{daemon}.service"
    assert [socket["name"] for socket in held["_tls_question"]["sockets"]] == [f"{daemon}-tls.socket", f"{daemon}-tcp.socket"]
    assert held["_tls_question"]["settings"][0]["file"] == f"/etc/libvirt/{daemon}.conf"
    assert [holding.get("group", "root") for holding in held["_tls_holdings"]] == ["root", "root", group, group]
    assert daemon in held["_hypervisor_question"]["services"]
    assert {package, "openssl"} <= set(held["_hypervisor_question"]["packages"])


@pytest.mark.parametrize("family", ["debian", "redhat"])
def test_nothing_is_left_as_a_template(rendered: dict[str, dict[str, Any]], family: str) -> None:
    assert "{{" not in json.dumps(rendered[family])
    assert "{%" not in json.dumps(rendered[family])


def test_a_host_on_another_port_is_known_by_it(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered["debian"]["_hypervisor_known_hosts"].splitlines() == ["[h1]:2222,[192.0.2.1]:2222 ssh-ed25519 AAAA"]

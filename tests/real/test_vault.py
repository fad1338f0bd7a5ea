# SPDX-License-Identifier: GPL-3.0-or-later
"""Values out of Ansible Vault: encrypted in the inventory, set on the host, and nowhere else to be read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
VALUE = "value-of-the-vault"


@pytest.fixture
def folder() -> Iterator[Path]:
    subprocess.run([sys.executable, ROOT / "tools" / "libvirt_up.py"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(prefix="dosvm-vault-", dir="/var/lib") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        for command in ("pool-destroy", "pool-undefine"):
            subprocess.run(["virsh", command, "vt-pool"], check=False, capture_output=True)
        listed = subprocess.run(["virsh", "secret-list"], capture_output=True, text=True, check=True).stdout
        for line in listed.splitlines():
            if line.endswith(" vt-key"):
                subprocess.run(["virsh", "secret-undefine", line.split()[0]], check=True, capture_output=True)


def play(folder: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", folder / "hosts.yml", "--vault-password-file", folder / "password", f"dos.vm.{name}", "-vvv", *arguments],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_value_out_of_the_vault_encrypts_a_volume_and_is_shown_nowhere(folder: Path) -> None:
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"dos_hosts": {"hosts": {"here": here}}}}}))
    (folder / "password").write_text("the password of the vault\n")
    variables = folder / "group_vars" / "all"
    variables.mkdir(parents=True)
    site = {
        "dos_site": "vt",
        "dos_pools": {"vt-pool": {"path": str(folder / "pool")}},
        "dos_volumes": {"vt-data": {"pool": "vt-pool", "capacity": "16 MiB", "encryption": "vt-key"}},
    }
    (variables / "site.yml").write_text(yaml.safe_dump(site))
    secrets = variables / "secrets.yml"
    secrets.write_text(yaml.safe_dump({"dos_secrets": {"vt-key": {"value": VALUE}}}))
    subprocess.run(
        [BIN / "ansible-vault", "encrypt", "--vault-password-file", folder / "password", secrets],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    assert VALUE not in secrets.read_text()
    shown = play(folder, "site", "--diff")
    assert VALUE not in shown
    disk = folder / "pool" / "vt-data"
    key = f"driver=qcow2,file.filename={disk},encrypt.key-secret=key"
    (folder / "key").write_text(VALUE)
    opened = subprocess.run(
        ["qemu-io", "--object", f"secret,id=key,file={folder}/key", "--image-opts", key, "-c", "read 0 512"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "read 512/512" in opened.stdout, opened.stderr
    for path in Path("/var/lib/dos-vm").rglob("*.json"):
        assert VALUE not in path.read_text(errors="replace")

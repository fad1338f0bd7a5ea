# SPDX-License-Identifier: GPL-3.0-or-later
"""Values out of Ansible Vault: encrypted in the inventory, set on the host, and nowhere else to be read."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from operators import HOSTS, ROOT, played

BIN = Path(sys.executable).parent
VALUE, NEXT = "value-of-the-vault", "value-that-came-after"
KEPT = (Path("/var/lib/dos-vm"), Path("/var/log/libvirt"), Path("/etc/libvirt/qemu"), Path("/etc/libvirt/storage"))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dosvm-vault-", dir="/var/lib") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path
        for command in ("pool-destroy", "pool-undefine"):
            subprocess.run(["virsh", command, "vt-pool"], check=False, capture_output=True)
        for line in _secrets():
            if line.endswith(" vt-key"):
                subprocess.run(["virsh", "secret-undefine", line.split()[0]], check=True, capture_output=True)


def _secrets() -> list[str]:
    return subprocess.run(["virsh", "secret-list"], capture_output=True, text=True, check=True).stdout.splitlines()


@contextmanager
def watched(*values: str) -> Iterator[list[str]]:
    """The command lines and environments, of any process that runs meanwhile, that have one of the values in them."""
    seen: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            for path in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
                with suppress(OSError):
                    if any(value.encode() in path.read_bytes() for value in values):
                        seen.append(str(path))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def kept(*values: str) -> list[str]:
    """The files of the host that have one of the values in them."""
    files = (path for folder in KEPT for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files if any(value.encode() in path.read_bytes() for value in values)]


def seal(folder: Path, value: str) -> None:
    """The value into a file of the inventory that only the vault's password opens."""
    secrets = folder / "group_vars" / "all" / "secrets.yml"
    secrets.write_text(yaml.safe_dump({"dos_secrets": {"vt-key": {"value": value}}}))
    subprocess.run(
        [BIN / "ansible-vault", "encrypt", "--vault-password-file", folder / "password", secrets],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    assert value not in secrets.read_text()


def opens(folder: Path, volume: str, value: str) -> bool:
    """Whether a value unlocks a volume."""
    key = f"driver=qcow2,file.filename={folder}/pool/{volume},encrypt.key-secret=key"
    (folder / "key").write_text(value)
    opened = subprocess.run(
        ["qemu-io", "--object", f"secret,id=key,file={folder}/key", "--image-opts", key, "-c", "read 0 512"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "read 512/512" in opened.stdout


def play(folder: Path, name: str, *arguments: str) -> str:
    done = played(folder, name, "--vault-password-file", str(folder / "password"), "-vvv", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_value_out_of_the_vault_encrypts_a_volume_and_is_shown_nowhere(folder: Path) -> None:
    (folder / "hosts.yml").write_text(yaml.safe_dump(HOSTS))
    (folder / "password").write_text("the password of the vault\n")
    variables = folder / "group_vars" / "all"
    variables.mkdir(parents=True)
    site = {
        "dos_site": "vt",
        "dos_pools": {"vt-pool": {"path": str(folder / "pool")}},
        "dos_volumes": {"vt-data": {"pool": "vt-pool", "capacity": "16 MiB", "encryption": "vt-key"}},
    }
    (variables / "site.yml").write_text(yaml.safe_dump(site))
    seal(folder, VALUE)
    with watched(VALUE) as seen:
        shown = play(folder, "plan", "--diff") + play(folder, "site", "--diff")
    assert seen == []
    assert VALUE not in shown
    assert opens(folder, "vt-data", VALUE)
    assert kept(VALUE) == []

    # Another value, which the volume does not need to be made anew for.
    seal(folder, NEXT)
    with watched(VALUE, NEXT) as seen:
        shown = play(folder, "plan", "--diff") + play(folder, "site", "--diff")
    assert seen == []
    assert kept(VALUE, NEXT) == []
    assert VALUE not in shown
    assert NEXT not in shown
    performed = set(re.findall(r"((?:secret|volume|pool) vt-[^ ]+) has been", shown))
    assert performed == {"secret vt-key"}
    uuid = next(line.split()[0] for line in _secrets() if line.endswith(" vt-key"))
    asked = subprocess.run(["virsh", "secret-get-value", "--plain", uuid], capture_output=True, text=True, check=False)
    assert asked.returncode != 0, "a value was read back (SECO-02)"
    site["dos_volumes"]["vt-next"] = {**site["dos_volumes"]["vt-data"]}
    (variables / "site.yml").write_text(yaml.safe_dump(site))
    play(folder, "site")
    assert opens(folder, "vt-next", NEXT)
    assert not opens(folder, "vt-next", VALUE)
    assert opens(folder, "vt-data", VALUE), "what was made before keeps its passphrase"

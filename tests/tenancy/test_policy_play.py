# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy as a pipeline runs it: a real git repository, real plays, people who commit what they may and what they may not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
VAULT = Path(sys.executable).with_name("ansible-vault")
BEFORE: dict[str, Any] = {
    "dos_users": {
        "root": {"role": "system", "email": "root@example.org"},
        "ada": {"email": "ada@example.org", "project": "shop"},
        "bob": {"aliases": ["bob@example.org"], "project": "blog"},
    },
    "dos_projects": {"shop": {}, "blog": {}},
    "dos_instances": {
        "web": {"project": "shop", "memory": "64 MiB"},
        "news": {"project": "blog", "memory": "64 MiB"},
    },
}


class Repository:
    """An inventory under git."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inventory = folder, folder / "inventories" / "mysite"
        (self.inventory / "group_vars" / "all").mkdir(parents=True)
        hosts = {"all": {"children": {"dos_hosts": {"hosts": {"h1": {"ansible_connection": "local"}}}}}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))
        self.site: dict[str, Any] = json.loads(json.dumps(BEFORE))
        self.git("init", "--quiet")
        self.commit("root", "the first")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self) -> None:
        (self.inventory / "group_vars" / "all" / "site.yml").write_text(yaml.safe_dump(self.site))

    def commit(self, who: str, message: str, *more: str) -> None:
        self.write()
        self.git("add", ".")
        person = ("-c", f"user.email={who}@example.org", "-c", f"user.name={who}")
        self.git(*person, *more, "commit", "--quiet", "--allow-empty", "--message", message)

    def play(self, *arguments: str, succeeds: bool = True, name: str = "policy", **environment: str) -> str:
        done = subprocess.run(
            [PLAYBOOK, "-i", self.inventory, f"dos.vm.{name}", *arguments],
            cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", **environment}, capture_output=True, text=True,
            timeout=300, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def refused(output: str) -> set[tuple[str, str]]:
    """Path and rule of every refusal."""
    return set(re.findall(r"^ +(dos_[\w.-]+): .* \[(\w+)\]$", output, re.MULTILINE))


def test_each_commit_is_checked_by_its_author(repository: Repository) -> None:
    """Of two people neither has the other's rights, and rights are those at the time."""
    repository.site["dos_instances"]["web"]["memory"] = "128 MiB"
    repository.commit("ada", "mine")
    repository.site["dos_instances"]["news"]["memory"] = "128 MiB"
    repository.commit("bob", "mine as well")
    repository.site["dos_pools"] = {"fast": {"path": "/srv/fast"}}
    repository.commit("root", "a pool")
    assert "3 changes, all of them allowed" in repository.play("-e", "dos_policy_before=HEAD~3")
    repository.site["dos_instances"]["news"]["memory"] = "256 MiB"
    repository.site["dos_pools"]["fast"]["path"] = "/srv/faster"
    repository.site["dos_users"]["ada"]["role"] = "system"
    repository.commit("ada", "not mine")
    wrong = repository.play("-e", "dos_policy_before=HEAD~4", succeeds=False)
    assert refused(wrong) == {
        ("dos_instances.news", "object_is_of_own_project"),
        ("dos_pools.fast", "kind_is_theirs"),
        ("dos_users.ada.role", "account_is_own"),
    }
    assert "commit " in wrong
    assert "by ada@example.org" in wrong


def test_what_is_not_committed_is_whoever_is_here(repository: Repository) -> None:
    repository.git("config", "user.email", "bob@example.org")
    repository.site["dos_instances"]["news"]["memory"] = "128 MiB"
    repository.write()
    assert "dos_instances.news" in repository.play()
    assert refused(repository.play("-e", "dos_actor=ada", succeeds=False)) == {
        ("dos_instances.news", "object_is_of_own_project")
    }


def test_another_inventory_is_compared_with(repository: Repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", str(tmp_path / "old"))
    repository.site["dos_projects"]["shop"]["quota"] = {"vcpus": 99}
    repository.write()
    old = tmp_path / "old" / "inventories" / "mysite"
    told = repository.play("-e", f"dos_policy_before={old}", "-e", "dos_actor=ada", succeeds=False)
    assert refused(told) == {("dos_projects.shop", "kind_is_theirs")}
    assert "quota: nothing → {'vcpus': 99}" in told
    repository.play("-e", f"dos_policy_before={old}", "-e", "dos_actor=root")


def test_the_plan_and_the_site_refuse_as_well_and_contact_no_host(repository: Repository) -> None:
    repository.site["dos_instances"]["news"]["memory"] = "128 MiB"
    repository.commit("ada", "not mine")
    told = repository.play("-e", "dos_policy_before=HEAD~1", succeeds=False, name="plan")
    assert "object_is_of_own_project" in told
    assert "TASK [Read the hosts]" not in told


def test_a_vault_is_opened_on_both_sides_and_its_value_is_not_shown(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("vault-password")
    environment = {"ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "key")}

    def encrypted(text: str) -> None:
        file = repository.inventory / "group_vars" / "all" / "secrets.yml"
        file.write_text(yaml.safe_dump({"dos_secrets": {"console": {"value": text}}}))
        command = [VAULT, "encrypt", str(file)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})

    (tmp_path / ".gitignore").write_text("key\n")
    encrypted("hunter22")
    repository.commit("root", "a secret")
    encrypted("hunter33")
    repository.commit("ada", "not mine")
    told = repository.play("-e", "dos_policy_before=HEAD~1", succeeds=False, **environment)
    assert refused(told) == {("dos_secrets.console", "kind_is_theirs")}
    assert "hunter" not in told


def test_an_unsigned_commit_could_be_anybodys(repository: Repository, tmp_path: Path) -> None:
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "allowed").write_text(f"root@example.org {key.with_suffix('.pub').read_text()}")
    (tmp_path / ".gitignore").write_text("id*\nallowed\n")
    repository.git("config", "gpg.format", "ssh")
    repository.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))
    repository.site["dos_pools"] = {"fast": {"path": "/srv/fast"}}
    sign = ("-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true")
    repository.commit("root", "signed", *sign)
    repository.play("-e", "dos_policy_before=HEAD~1", "-e", "dos_policy_signed=true")
    repository.site["dos_pools"]["fast"]["path"] = "/srv/faster"
    repository.commit("root", "says so")
    told = repository.play("-e", "dos_policy_before=HEAD~1", "-e", "dos_policy_signed=true", succeeds=False)
    assert "bears no signature that git accepts" in told


def test_a_revision_that_is_none_is_told_in_gits_words(repository: Repository) -> None:
    told = repository.play("-e", "dos_policy_before=nowhere", succeeds=False)
    assert "dos_policy_before: fatal: Needed a single revision" in told
    assert "option" not in repository.play("-e", "dos_policy_before=--output=/tmp/x", succeeds=False)


def test_a_password_becomes_a_hash_that_may_be_declared(repository: Repository, tmp_path: Path) -> None:
    """LIMIT-02: what everybody tries first is refused; nothing shows what was typed."""
    import argon2

    def made(password: str, *, succeeds: bool = True) -> str:
        (tmp_path / "typed.json").write_text(json.dumps({"dos_password": password}))
        told = repository.play("-e", f"@{tmp_path / 'typed.json'}", name="password", succeeds=succeeds)
        assert password not in told
        return told

    told = made("a long-enough pass phrase")
    (found,) = re.findall(r"\$argon2id\$\S+", told)
    assert argon2.PasswordHasher().verify(found, "a long-enough pass phrase")
    repository.site["dos_users"]["ada"]["password"] = found
    repository.write()
    repository.play(name="validate")
    assert "has 12 to 1024 characters" in made("hunter22", succeeds=False)
    assert "everybody tries" in made("sysadmsysadm", succeeds=False)

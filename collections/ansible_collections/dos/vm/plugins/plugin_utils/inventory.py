# SPDX-License-Identifier: GPL-3.0-or-later
"""The site that another inventory declares: a folder, or what a folder was at a commit. Read as Ansible reads it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from ansible_collections.dos.vm.plugins.module_utils.errors import DeclarationError
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.plugin_utils.site import GROUP, SiteReader

PATH = "dos_policy_before"
EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's name for a tree without files


def read_site(inventory: Path, vault: Sequence[Any]) -> Site:
    """The site of an inventory, with what this run was given by `-e`. `vault` are the secrets it opens vaults with."""
    loader = DataLoader()
    loader.set_vault_secrets(list(vault))
    manager = InventoryManager(loader=loader, sources=[str(inventory)])
    hosts = manager.get_hosts(GROUP) or manager.get_hosts("all")
    if not hosts:
        return Site()
    variables = VariableManager(loader=loader, inventory=manager).get_vars(host=hosts[0], include_hostvars=False)
    variables["ansible_play_hosts_all"] = [host.name for host in hosts]
    variables["groups"] = manager.get_groups_dict()
    return SiteReader(Templar(loader=loader, variables=variables), variables).load(check=False)


class History:
    """An inventory in a git repository."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        self._folder = inventory if inventory.is_dir() else inventory.parent

    def git(self, *arguments: str) -> str:
        """What git says. Raises `DeclarationError` with git's own words when it says no."""
        return self._run(*arguments).decode(errors="replace").strip()

    def is_there(self) -> bool:
        try:
            return bool(self.git("rev-parse", "--show-toplevel"))
        except DeclarationError:
            return False

    def commits(self, before: str) -> list[str]:
        """The commits since another that touched the inventory, the oldest first."""
        self.git("rev-parse", "--verify", "--end-of-options", f"{before}^{{commit}}")
        listed = self.git("rev-list", "--reverse", "--first-parent", f"{before}..HEAD", "--", ".")
        return listed.split()

    def parent(self, commit: str) -> str:
        """The commit before one; nothing at all before the first."""
        return [*self.git("rev-list", "--parents", "-n", "1", commit).split()[1:], EMPTY][0]

    def author(self, commit: str) -> str:
        """The address that the author of a commit goes by."""
        return self.git("log", "-1", "--format=%ae", commit)

    def signature(self, commit: str) -> str:
        """git's letter for the signature of a commit: G is a good one."""
        return self.git("log", "-1", "--format=%G?", commit)

    def me(self) -> str:
        """Whoever would commit what is not committed."""
        try:
            return self.git("config", "user.email")
        except DeclarationError:
            return ""

    def is_clean(self) -> bool:
        return not self.git("status", "--porcelain", "--", ".")

    @contextmanager
    def at(self, commit: str) -> Iterator[Path]:
        """The inventory as it was at a commit, in a folder of its own for as long as it takes."""
        prefix = self.git("rev-parse", "--show-prefix")
        with tempfile.TemporaryDirectory(prefix="dos-vm-policy-") as folder:
            listed = self.git("ls-tree", commit, "--", ".") if prefix else "all"
            if listed:
                packed = self._run("archive", "--format=tar", commit, "--", ".")
                with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                    archive.extractall(folder, members=[held for held in archive if _stays_inside(held)])
            name = "." if self.inventory.is_dir() else self.inventory.name
            yield Path(folder, name)

    def _run(self, *arguments: str) -> bytes:
        command = ["git", "--no-optional-locks", "-C", str(self._folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        except OSError as missing:
            raise DeclarationError.at(PATH, f"git cannot be run: {missing.strerror}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed"
            raise DeclarationError.at(PATH, said)
        return done.stdout


def _stays_inside(held: tarfile.TarInfo) -> bool:
    """Files, folders, and links that lead to neither elsewhere: a commit under check may be anybody's."""
    if held.issym():
        target = os.path.normpath(os.path.join(os.path.dirname(held.name), held.linkname))
        return not os.path.isabs(held.linkname) and not target.startswith("..")
    return held.isfile() or held.isdir()

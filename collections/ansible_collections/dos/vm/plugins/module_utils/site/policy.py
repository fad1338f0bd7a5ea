# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may make which change: the differences of two sites held against the rights of whoever made them. Pure.

Rights are those of the site *before* the change: nobody gives them to themselves. A site without users has no policy yet; its
first users are declared by whoever has the files.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..model.types import Name
from .difference import ObjectChange, differences
from .rights import OWN_FIELDS, Right, rights
from .site import Site
from .user import User

DELETED = "dos_confirm"


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A change that may not be made: which, the name of the rule, and what to do instead."""

    path: str
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text} [{self.rule}]" if self.path else f"{self.text} [{self.rule}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Changes and who made them. `user` is nobody where the actor has no account; `confirmed` are projects that may go."""

    before: Site
    after: Site
    changes: tuple[ObjectChange, ...]
    actor: str
    account: Name | None
    user: User | None
    confirmed: frozenset[str] = frozenset()

    @property
    def projects(self) -> frozenset[str]:
        """The projects that are the actor's to operate: at most one (USER-02)."""
        named = {str(name) for name, held in self.before.projects.items() if self.account in held.administrators}
        own = {str(self.user.project)} if self.user is not None and self.user.project else set()
        return frozenset(named | own)

    def right(self, kind: str) -> Right:
        """What the actor may do to a kind by role."""
        held = rights(kind)
        return held.system if self.user is not None and self.user.role == "system" else held.project


Rule = Callable[[Case], Iterator[Refusal]]


def check(
    before: Site, after: Site, actor: str, confirmed: Iterable[str] = ()
) -> tuple[tuple[ObjectChange, ...], tuple[Refusal, ...]]:
    """The changes from one site to the other, and those that the actor may not make."""
    changes = differences(before, after)
    account, user = find(before, actor)
    case = Case(
        before=before,
        after=after,
        changes=changes,
        actor=actor,
        account=account,
        user=user,
        confirmed=frozenset(confirmed),
    )
    rules = (*(RULES if before.users else ()), *ALWAYS) if changes else ()
    return changes, tuple(sorted({refusal for rule in rules for refusal in rule(case)}))


def find(site: Site, actor: str) -> tuple[Name | None, User | None]:
    """Whose account an actor is: its name, or an address that its commits bear."""
    for name, user in site.users.items():
        if actor == name or actor.lower() in user.known_as():
            return name, user
    return None, None


def user_is_known(case: Case) -> Iterator[Refusal]:
    """USER-11: every change is somebody's."""
    if case.user is None:
        text = (
            f"{case.actor} is nobody's account or address, declare them in dos_users, or say who it is with dos_actor"
        )
        yield Refusal("", "user_is_known", text)


def user_is_not_frozen(case: Case) -> Iterator[Refusal]:
    """USER-09, LIMIT-01: at each change, and not when somebody logs in."""
    if case.user is not None and case.user.frozen:
        yield Refusal(
            f"dos_users.{case.account}", "user_is_not_frozen", f"{case.account} is frozen and may change nothing"
        )


def project_is_active(case: Case) -> Iterator[Refusal]:
    """USER-12, PROJ-05: who operates a project that is not active, operates nothing."""
    for change in case.changes:
        for project in sorted(_projects(change) & case.projects) if change.kind != "users" else ():
            held = case.before.projects.get(Name(project))
            if held is not None and not held.active and not _is_system(case, change):
                text = f"project {project} is not active, so {case.account} cannot change what is in it"
                yield Refusal(change.path, "project_is_active", text)


def kind_is_theirs(case: Case) -> Iterator[Refusal]:
    """USER-03, ARCH-20: what a role has no right to."""
    for change in case.changes:
        if case.user is not None and case.right(change.kind) == "none":
            text = f"is for system administrators to declare, and {case.account} is not one"
            yield Refusal(change.path, "kind_is_theirs", text)


def object_is_of_own_project(case: Case) -> Iterator[Refusal]:
    """USER-03, PROJ-10: also what it was before, and what it becomes."""
    for change in case.changes:
        right = case.right(change.kind)
        if case.user is None or right in ("none", "full", "self"):
            continue
        foreign = sorted(_projects(change) - case.projects - _reachable(case, change, right))
        if foreign:
            whose = f"project {', '.join(foreign)}"
            yield Refusal(change.path, "object_is_of_own_project", f"belongs to {whose}, {_theirs(case)}")
        if right != "nobodys" and _is_nobodys(change):
            text = f"belongs to no project and so is for system administrators to declare; {_theirs(case)}"
            yield Refusal(change.path, "object_is_of_own_project", text)


def _reachable(case: Case, change: ObjectChange, right: Right) -> frozenset[str]:
    """The projects whose objects of this kind one may change beside one's own: those of a common group, for images.

    Whose an image is stays its project's to say: who could take it over could delete it (IMG-03).
    """
    if right != "group" or change.op != "modify" or change.old.project != change.new.project:
        return frozenset()
    groups = {group for name in case.projects for group in _groups(case.before, name)}
    return frozenset(str(name) for name in case.before.projects if groups & _groups(case.before, name))


def _groups(site: Site, project: str) -> frozenset[str]:
    held = site.projects.get(Name(project))
    return frozenset(("",)) if held is None or not site.project_groups else frozenset(map(str, held.groups))


def account_is_own(case: Case) -> Iterator[Refusal]:
    """USER-10: one's own name, telephone, addresses, description and password."""
    for change in case.changes:
        if case.user is None or change.kind != "users" or case.right("users") != "self":
            continue
        if change.name != case.account or change.op != "modify":
            yield Refusal(change.path, "account_is_own", f"is not the account of {case.account}")
            continue
        for held in change.fields:
            if held.at[0] not in OWN_FIELDS:
                text = f"{held.at[0]} is for system administrators to change"
                yield Refusal(f"{change.path}.{held.at[0]}", "account_is_own", text)


def an_administrator_stays(case: Case) -> Iterator[Refusal]:
    """USER-01: a site that has administrators keeps one who can act."""
    if case.before.users and not any(held.role == "system" and not held.frozen for held in case.after.users.values()):
        yield Refusal("dos_users", "an_administrator_stays", "nobody would be left who may configure the site")


def projects_go_by_name(case: Case) -> Iterator[Refusal]:
    """PROJ-03, LIMIT-42: what goes with a project is listed, and its name is asked for."""
    for change in case.changes:
        if change.kind != "projects" or change.op != "remove" or change.name in case.confirmed:
            continue
        gone = [other.path for other in case.changes if other.op == "remove" and change.name in _projects(other)]
        listed = f"{', '.join(gone[:10])}{', …' if len(gone) > 10 else ''}" if gone else "nothing else"
        text = f"goes, and with it {listed}; write {DELETED}={change.name} if that is meant"
        yield Refusal(change.path, "projects_go_by_name", text)


def directories_keep_their_files(case: Case) -> Iterator[Refusal]:
    """PGRP-06: a group's directory moves only while nothing that is declared is in it."""
    for change in case.changes:
        if change.kind != "project_groups" or change.op != "modify" or change.old.directory == change.new.directory:
            continue
        old = f"{change.old.directory}/"
        held = sorted(name for name, image in case.after.images.items() if image.file.startswith(old))
        if held:
            text = f"is left while {', '.join(held[:5])} is still in {change.old.directory}: move the files first"
            yield Refusal(f"{change.path}.directory", "directories_keep_their_files", text)


def images_keep_their_directory(case: Case) -> Iterator[Refusal]:
    """IMG-07: of an image everything may be changed but where it lies; machines are layered over that path."""
    for change in case.changes:
        if change.kind != "images" or change.op != "modify":
            continue
        old, new = posixpath.dirname(change.old.file), posixpath.dirname(change.new.file)
        if old != new:
            text = f"is in {old}: declare another image in {new}, and let machines use that"
            yield Refusal(f"{change.path}.file", "images_keep_their_directory", text)


RULES: tuple[Rule, ...] = (
    user_is_known,
    user_is_not_frozen,
    project_is_active,
    kind_is_theirs,
    object_is_of_own_project,
    account_is_own,
    an_administrator_stays,
)
# These hold whoever it is, also in a site without users.
ALWAYS: tuple[Rule, ...] = (projects_go_by_name, directories_keep_their_files, images_keep_their_directory)


def _theirs(case: Case) -> str:
    return f"and {case.account} operates {', '.join(sorted(case.projects)) or 'no project'}"


def _is_system(case: Case, change: ObjectChange) -> bool:
    return case.user is not None and case.user.role == "system" and case.right(change.kind) == "full"


def _projects(change: ObjectChange) -> frozenset[str]:
    """The projects that an object belonged to or comes to belong to."""
    return frozenset(str(project) for held in _sides(change) if (project := getattr(held, "project", None)))


def _is_nobodys(change: ObjectChange) -> bool:
    return any(getattr(held, "project", None) is None for held in _sides(change))


def _sides(change: ObjectChange) -> list[Any]:
    return [held for held in (change.old, change.new) if held is not None]

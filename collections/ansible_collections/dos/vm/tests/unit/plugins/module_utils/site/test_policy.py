# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may make which change: USER-03's table, own projects, own accounts, and what holds for everybody."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_strategies import Declared, sites

from dosvm.site.difference import HIDDEN, differences
from dosvm.site.load import load
from dosvm.site.policy import ALWAYS, RULES, check
from dosvm.site.rights import RIGHTS
from dosvm.site.site import KINDS, Site

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$aGVyZWlzYWhhc2h0aGF0aXNsb25nZW5vdWdoMTIzNDU"
OTHER = HASH.replace("aGVy", "bGVy")
INSTANCE = {"project": "shop", "memory": "64 MiB"}
BEFORE: dict[str, Any] = {
    "dos_project_groups": {"shops": {"directory": "/srv/shops"}, "press": {"directory": "/srv/press"}},
    "dos_projects": {
        "shop": {"groups": ["shops"], "administrators": ["ada"]},
        "stall": {"groups": ["shops"]},
        "blog": {"groups": ["press"]},
        "old": {"groups": ["press"], "active": False},
    },
    "dos_users": {
        "root": {"role": "system", "email": "root@example.org"},
        "both": {"role": "system", "project": "blog"},
        "ada": {"email": "Ada@example.org", "password": HASH},
        "bob": {"project": "blog"},
        "cold": {"project": "shop", "frozen": True},
        "oli": {"project": "old"},
        "idle": {},
    },
    "dos_pools": {"fast": {"path": "/srv/fast"}},
    "dos_volumes": {
        "v-shop": {"pool": "fast", "capacity": "1 GiB", "project": "shop"},
        "v-all": {"pool": "fast", "capacity": "1 GiB"},
    },
    "dos_images": {
        "i-shop": {"file": "/srv/shops/a.img", "format": "raw", "project": "shop"},
        "i-stall": {"file": "/srv/shops/b.img", "format": "raw", "project": "stall"},
        "i-blog": {"file": "/srv/press/c.img", "format": "raw", "project": "blog"},
        "i-all": {"file": "/srv/d.img", "format": "raw"},
    },
    "dos_networks": {
        "n-shop": {"type": "bridge", "bridge": "br0", "project": "shop"},
        "n-all": {"type": "bridge", "bridge": "br1"},
    },
    "dos_secrets": {"key": {"value": "hunter22"}},
    "dos_instances": {
        "web": {**INSTANCE, "vms": {"web-1": {}}},
        "blog": {**INSTANCE, "project": "blog"},
        "old": {**INSTANCE, "project": "old"},
    },
}
Edit = Callable[[dict[str, Any]], object]


def site(variables: dict[str, Any]) -> Site:
    return load(variables, hosts=("h1",), check=False)


def edited(edit: Edit, before: dict[str, Any] = BEFORE) -> tuple[Site, Site]:
    after = copy.deepcopy(before)
    edit(after)
    return site(before), site(after)


def rules(edit: Edit, actor: str, *confirmed: str, before: dict[str, Any] = BEFORE) -> list[str]:
    """The names of the rules that refuse a change of somebody's."""
    return [refusal.rule for refusal in check(*edited(edit, before), actor, confirmed)[1]]


def put(kind: str, name: str, **fields: Any) -> Edit:
    """A change that adds an object, or fields of one."""
    return lambda held: held[f"dos_{kind}"].setdefault(name, {}).update(fields)


def drop(kind: str, name: str) -> Edit:
    return lambda held: held[f"dos_{kind}"].pop(name)


def test_the_table_has_a_row_for_every_kind() -> None:
    assert set(RIGHTS) == set(KINDS)


ALLOWED: dict[str, tuple[str, Edit]] = {
    "own instance": ("ada", put("instances", "web", memory="128 MiB")),
    "new instance": ("ada", put("instances", "new", **INSTANCE)),
    "own instance gone": ("ada", drop("instances", "web")),
    "own network": ("ada", put("networks", "n-shop", mtu=1400)),
    "own volume": ("ada", put("volumes", "v-shop", capacity="2 GiB")),
    "by address": ("ada@EXAMPLE.org", put("instances", "web", memory="128 MiB")),
    "image of the group": ("ada", put("images", "i-stall", label="x")),
    "own image gone": ("ada", drop("images", "i-shop")),
    "own password": ("ada", put("users", "ada", password=OTHER, phone="1")),
    "system: pool": ("root", put("pools", "slow", path="/srv/slow")),
    "system: volume of a project": ("root", put("volumes", "v-shop", capacity="2 GiB")),
    "system: nobody's network": ("root", put("networks", "n-all", mtu=1400)),
    "system: nobody's image": ("root", put("images", "i-all", label="x")),
    "system: quota": ("root", put("projects", "shop", quota={"vcpus": 1})),
    "system: freeze": ("root", put("users", "ada", frozen=True)),
    "system: secret": ("root", put("secrets", "key", value="x")),
    "both: configures": ("both", put("pools", "slow", path="/srv/slow")),
    "both: operates": ("both", put("instances", "blog", memory="128 MiB")),
    "nothing": ("nobody", lambda held: None),
}
REFUSED: dict[str, tuple[str, Edit, str]] = {
    "foreign instance": ("ada", put("instances", "blog", memory="128 MiB"), "object_is_of_own_project"),
    "foreign instance gone": ("ada", drop("instances", "blog"), "object_is_of_own_project"),
    "takes over": ("bob", put("instances", "web", project="blog"), "object_is_of_own_project"),
    "gives away": ("ada", put("instances", "web", project="blog"), "object_is_of_own_project"),
    "new for another": ("ada", put("instances", "new", **{**INSTANCE, "project": "stall"}), "object_is_of_own_project"),
    "nobody's volume": ("ada", put("volumes", "v-all", capacity="2 GiB"), "object_is_of_own_project"),
    "nobody's network, made": (
        "ada",
        put("networks", "n-new", type="bridge", bridge="br7"),
        "object_is_of_own_project",
    ),
    "makes its own nobody's": (
        "ada",
        lambda held: held["dos_volumes"]["v-shop"].pop("project"),
        "object_is_of_own_project",
    ),
    "image of another group": ("ada", put("images", "i-blog", label="x"), "object_is_of_own_project"),
    "removes the group's image": ("ada", drop("images", "i-stall"), "object_is_of_own_project"),
    "image for another of the group": (
        "ada",
        put("images", "i-new", file="/srv/x.img", format="raw", project="stall"),
        "object_is_of_own_project",
    ),
    "takes the group's image over": ("ada", put("images", "i-stall", project="shop"), "object_is_of_own_project"),
    "image moved": ("ada", put("images", "i-shop", file="/srv/elsewhere/i.img"), "images_keep_their_directory"),
    "pool": ("ada", put("pools", "fast", path="/tmp"), "kind_is_theirs"),
    "own quota": ("ada", put("projects", "shop", quota={"vcpus": 999}), "kind_is_theirs"),
    "placement": ("ada", lambda held: held.update(dos_placement={"subset": 3}), "kind_is_theirs"),
    "name of the site": ("ada", lambda held: held.update(dos_site="other"), "kind_is_theirs"),
    "filter (AMB-13)": ("ada", lambda held: held.update(dos_filters={"f": {}}), "kind_is_theirs"),
    "host": ("ada", lambda held: held.update(dos_host_settings={"h1": {"maintenance": True}}), "kind_is_theirs"),
    "becomes system": ("ada", put("users", "ada", role="system"), "account_is_own"),
    "unfreezes": ("cold", put("users", "cold", frozen=False), "user_is_not_frozen"),
    "another account": ("ada", put("users", "bob", phone="1"), "account_is_own"),
    "new account": ("ada", put("users", "eve"), "account_is_own"),
    "frozen": ("cold", put("instances", "web", memory="128 MiB"), "user_is_not_frozen"),
    "inactive project": ("oli", put("instances", "old", memory="128 MiB"), "project_is_active"),
    "unknown": ("eve", put("instances", "web", memory="128 MiB"), "user_is_known"),
    "without a project": ("idle", put("instances", "web", memory="128 MiB"), "object_is_of_own_project"),
    "system operates": ("root", put("instances", "web", memory="128 MiB"), "object_is_of_own_project"),
    "last administrator": (
        "root",
        lambda held: [held["dos_users"].pop(name) for name in ("root", "both")],
        "an_administrator_stays",
    ),
    "project gone": ("root", drop("projects", "stall"), "projects_go_by_name"),
    "directory moved": ("root", put("project_groups", "shops", directory="/srv/new"), "directories_keep_their_files"),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_may(name: str) -> None:
    actor, edit = ALLOWED[name]
    assert rules(edit, actor) == []


@pytest.mark.parametrize("name", REFUSED)
def test_may_not(name: str) -> None:
    actor, edit, rule = REFUSED[name]
    assert rule in rules(edit, actor)


def test_every_rule_refuses_something_and_names_its_requirement() -> None:
    shown = {rule for _, _, rule in REFUSED.values()}
    assert {rule.__name__ for rule in (*RULES, *ALWAYS)} == shown
    assert all((rule.__doc__ or "").split(":")[0].split("-")[0].isupper() for rule in (*RULES, *ALWAYS))


def test_a_project_goes_when_its_name_is_said_and_what_goes_with_it_is_listed() -> None:
    def edit(held: dict[str, Any]) -> None:
        for kind, name in (("projects", "blog"), ("instances", "blog"), ("images", "i-blog")):
            held[f"dos_{kind}"].pop(name)

    (told,) = (held for held in check(*edited(edit), "both")[1] if held.rule == "projects_go_by_name")
    assert "dos_images.i-blog, dos_instances.blog; write dos_confirm=blog" in told.text
    assert rules(edit, "both", "blog") == []


def test_a_site_without_users_has_no_policy_but_for_what_holds_always() -> None:
    before = {kind: held for kind, held in BEFORE.items() if kind != "dos_users"}
    assert rules(put("pools", "slow", path="/srv/slow"), "anybody", before=before) == []
    assert rules(drop("projects", "stall"), "anybody", before=before) == ["projects_go_by_name"]


def test_a_difference_is_of_meaning_and_not_of_text() -> None:
    same = {"dos_pools": {"fast": {"path": "/srv//fast/", "capacity": "1024 MiB"}}}
    again = {"dos_pools__more": {"fast": {"capacity": "1 GiB", "path": "/srv/fast", "shared": False}}}
    assert differences(site(same), site(again)) == ()


def test_a_secret_is_different_and_not_shown() -> None:
    (change,) = differences(*edited(put("secrets", "key", value="hunter23")))
    assert [(held.at, held.before, held.after) for held in change.fields] == [(("value",), HIDDEN, HIDDEN)]
    (change,) = differences(*edited(put("users", "ada", password=OTHER)))
    assert HASH not in str(change.fields[0])
    assert OTHER not in str(change.fields[0])


def test_fields_are_named_to_the_leaf() -> None:
    (change,) = differences(*edited(lambda held: held["dos_instances"]["web"]["vms"]["web-1"].update(power="off")))
    assert [str(held) for held in change.fields] == ["vms.web-1.power: nothing → off"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sites(), sites(), st.sampled_from(["system", "project"]))
def test_no_project_administrator_changes_what_is_not_theirs(one: Declared, other: Declared, role: str) -> None:
    """Whatever the change: what is not refused is of the own project, or of a kind that the role has in full."""
    people = {"dos_users": {"root": {"role": "system"}, "ada": {"role": role, "project": "project-0"}}}
    before, after = (
        site({**one.variables, **people}),
        site({**other.variables, **people, "dos_site": str(one.variables["dos_site"])}),
    )
    changes, refused = check(before, after, "ada", confirmed=[str(name) for name in before.projects])
    paths = {refusal.path for refusal in refused}
    if any(not held.path or held.rule == "project_is_active" for held in refused):
        return
    for change in changes:
        if change.path in paths or (role == "system" and RIGHTS.get(change.kind, RIGHTS["pools"]).system == "full"):
            continue
        owners = {getattr(held, "project", None) for held in (change.old, change.new) if held is not None}
        allowed = {"project-0"} | ({None} if role == "system" else set())
        assert owners <= allowed or (change.kind == "images" and change.op == "modify"), change


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sites())
def test_a_site_is_not_different_from_itself(declared: Declared) -> None:
    assert differences(site(declared.variables), site(copy.deepcopy(declared.variables))) == ()

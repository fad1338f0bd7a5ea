# SPDX-License-Identifier: GPL-3.0-or-later
"""Nonsense is refused before it costs anything, secrets stay secret, and a site in order is accepted."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from located import read, where
from site_strategies import Declared, sites

from dosvm.errors import DeclarationError
from dosvm.model.decode import decode, encode
from dosvm.site.load import load
from dosvm.site.site import KINDS
from dosvm.site.validate import warnings

SECRET = "tops3cret"


def refusal(variables: dict[str, Any], hosts: tuple[str, ...] = ()) -> str:
    with pytest.raises(DeclarationError) as caught:
        load(variables, hosts=hosts, where=where)
    return str(caught.value)


def nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_too_deep_is_refused() -> None:
    assert "is deeper than 64 levels" in refusal({"dos_pools": {"a": nested(100)}})


def test_what_is_too_deep_through_aliases_is_refused() -> None:
    """Shared parts are measured once, wherever they are met first."""
    half = nested(40)
    whole: Any = half
    for _ in range(40):
        whole = [whole]
    assert "is 82 levels deep, write at most 64" in refusal({"dos_pools": [half, {"deep": whole}]})


def test_a_megabyte_of_nonsense_gets_a_short_answer() -> None:
    nonsense = "".join(random.Random(1).choices("abc <>&'\"$;\\\n\t:{}", k=2**20))
    told = refusal({"dos_pools": {nonsense: {"path": nonsense, nonsense: nonsense}}, "dos_site": nonsense})
    assert "is not a name" in told
    assert len(told) < 2000
    told = refusal({"dos_pools": {"quick": {"path": nonsense, nonsense: nonsense}}, "dos_networks": nonsense})
    assert "is not an absolute path" in told
    assert "dos_networks: is text where a map by name is expected" in told
    assert len(told) < 2000


def test_bytes_that_are_not_utf8_are_refused() -> None:
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert "dos_pools: has bytes that are not UTF-8, in 'caf\\udce9'" in refusal({"dos_pools": {"a": {"label": text}}})
    assert "has bytes that are not UTF-8" in refusal({"dos_pools": {text: {}}})


def test_a_host_of_the_inventory_has_a_name_of_ours() -> None:
    assert "the inventory's host 'h 1' is not a name" in refusal({}, hosts=("h 1",))


def test_variables_of_others_are_left_alone() -> None:
    assert load({"dos_backup_target": "tape", "unrelated": nested(1)}, hosts=()).name == "dos"


def test_a_kind_without_a_value_is_an_empty_one() -> None:
    assert load({"dos_pools": None}, hosts=()).pools == {}


def test_parts_of_a_kind_are_merged() -> None:
    parts = read("dos_pools: {a: {path: /a}}\ndos_pools__shop: {b: {path: /b}}\ndos_pools__: {c: {path: /c}}")
    assert list(load(parts, hosts=("h",)).pools) == ["a", "b", "c"]


def test_rules_can_be_left_out() -> None:
    assert load({"dos_volumes": {"v": {"pool": "none", "capacity": "1 GiB"}}}, hosts=(), check=False).volumes


@pytest.mark.parametrize(
    "given",
    [
        {"value": [SECRET]},
        {"value": {SECRET: 1}},
        {"value": f"{SECRET}\x01"},
        {"value": SECRET, "vale": SECRET},
        SECRET,
        [SECRET],
    ],
)
def test_the_value_of_a_secret_is_in_no_error(given: Any) -> None:
    assert SECRET not in refusal({"dos_secrets": {"console": given}})
    assert SECRET not in refusal({"dos_secrets": given, "dos_pools": SECRET[:0] or []})


def test_the_value_of_a_secret_is_in_no_text_of_the_site() -> None:
    site = load({"dos_secrets": {"console": {"value": SECRET}}}, hosts=())
    assert SECRET not in repr(site)
    assert site.secrets["console"].value == SECRET  # type: ignore[index]  # a Name is a str


@settings(max_examples=200)
@given(sites())
def test_a_site_in_order_is_accepted(declared: Declared) -> None:
    site = load(declared.variables, hosts=declared.hosts)
    warnings(site)
    for kind, held in ((kind, getattr(site, kind)) for kind in KINDS):
        for name, value in held.items():
            assert decode(KINDS[kind], encode(value), path=name) == value


@settings(max_examples=50)
@given(sites(), st.randoms(use_true_random=False))
def test_the_order_of_a_site_does_not_matter(declared: Declared, dice: random.Random) -> None:
    turned = {name: held for name, held in dice.sample(list(declared.variables.items()), k=len(declared.variables))}
    for name, held in turned.items():
        if isinstance(held, dict):
            turned[name] = dict(dice.sample(list(held.items()), k=len(held)))
    assert load(turned, hosts=declared.hosts) == load(declared.variables, hosts=declared.hosts)


@settings(max_examples=100)
@given(sites(), st.data())
def test_a_broken_value_is_told_where_it_is(declared: Declared, data: st.DataObject) -> None:
    """Whatever is wrong with one object, the message names that object, and the others are not accused."""
    kinds = [kind for kind in KINDS if declared.variables.get(f"dos_{kind}")]
    kind = data.draw(st.sampled_from(kinds))
    name = data.draw(st.sampled_from(list(declared.variables[f"dos_{kind}"])))
    wrong = {**(declared.variables[f"dos_{kind}"][name] or {}), "frobnicate": 1}
    variables = {**declared.variables, f"dos_{kind}": {**declared.variables[f"dos_{kind}"], name: wrong}}
    assert refusal(variables, declared.hosts).startswith(f"dos_{kind}.{name}.frobnicate: is not a known field")
    assert "\n" not in refusal(variables, declared.hosts)

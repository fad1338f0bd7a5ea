# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible is told of a declaration is all of it, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from dosvm.model.argument_spec import argument_spec, fields_of
from dosvm.model.decode import decode, encode
from dosvm.model.domain import Domain
from dosvm.model.front import Connection, Existence, HostRun, Query, SecretValue, SecretValues
from dosvm.model.network import Network
from dosvm.model.nwfilter import Nwfilter
from dosvm.model.pool import Pool
from dosvm.model.secret import Secret
from dosvm.model.volume import Volume

KINDS = (Domain, Network, Nwfilter, Pool, Secret, Volume)
FRONT = (Connection, Existence, HostRun, Query, SecretValue, SecretValues)

SMALLEST: Mapping[type, dict[str, Any]] = {
    Domain: {"name": "a", "memory": "16 MiB"},
    Network: {"name": "a", "forward": "none"},
    Nwfilter: {"name": "a"},
    Pool: {"name": "a", "path": "/a"},
    Secret: {"name": "a"},
    Volume: {"name": "a", "pool": "b", "capacity": "1 MiB"},
}


def options(spec: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in spec.items():
        yield f"{path}{name}", option
        yield from options(option.get("options", {}), f"{path}{name}.")


def fields(kind: type, path: str = "") -> Iterator[str]:
    for field in fields_of(kind):
        yield f"{path}{field.name}"
        for held in (field.hint, *getattr(field.hint, "__args__", ())):
            if dataclasses.is_dataclass(held) and not str(field.hint).startswith("dict"):
                assert isinstance(held, type)
                yield from fields(held, f"{path}{field.name}.")


@pytest.mark.parametrize("kind", [*KINDS, *FRONT])
def test_every_field_is_an_option_and_every_option_a_field(kind: type) -> None:
    assert {name for name, _ in options(argument_spec(kind))} == set(fields(kind))


@pytest.mark.parametrize("kind", [*KINDS, *FRONT])
def test_every_option_has_a_type_that_ansible_knows_and_says_whether_it_is_secret(kind: type) -> None:
    for name, option in options(argument_spec(kind)):
        assert option["type"] in ("str", "int", "float", "bool", "list", "dict"), name
        assert option["type"] != "list" or option["elements"] in ("str", "int", "dict"), name
        assert isinstance(option["no_log"], bool), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_ansible_fills_in_changes_nothing(kind: type) -> None:
    filled = ArgumentSpecValidator(argument_spec(kind)).validate(SMALLEST[kind])
    assert not filled.error_messages
    said = {name: value for name, value in filled.validated_parameters.items() if value is not None}
    assert decode(kind, said) == decode(kind, SMALLEST[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_the_models_own(kind: type) -> None:
    spec = argument_spec(kind)
    for field in fields_of(kind):
        expected = None if field.required or field.default in (None, ()) else encode(field.default)
        assert spec[field.name].get("default") == expected, field.name


def test_choices_come_from_the_types() -> None:
    assert argument_spec(Volume)["format"]["choices"] == ["qcow2", "raw", "qcow", "qed", "vmdk", "vpc", "vdi"]
    assert argument_spec(Domain)["boot"] == {
        "type": "list",
        "elements": "str",
        "choices": ["hd", "cdrom", "network", "fd"],
        "no_log": False,
    }


def test_value_types_are_text() -> None:
    assert argument_spec(Volume)["capacity"]["type"] == "str"
    assert argument_spec(Network)["subnets"]["options"]["address"]["type"] == "str"


def test_values_of_secrets_are_not_logged_and_their_names_are() -> None:
    assert argument_spec(SecretValue)["value"]["no_log"]
    assert argument_spec(SecretValues)["secrets"]["no_log"]
    assert not argument_spec(Domain)["graphics"]["options"]["password"]["no_log"]

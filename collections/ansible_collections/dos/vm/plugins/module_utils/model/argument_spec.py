# SPDX-License-Identifier: GPL-3.0-or-later
"""From a declaration to Ansible's argument spec, by reflection; plain dictionaries, so nothing here knows Ansible.

Defaults are the model's own: a declaration that says them and one that is silent decode to equal values, and the manual
shows them. What is empty by default (no value, no entries) has no default here and does not reach `decode`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from .declaration import Option, in_order, key_of
from .decode import encode

Spec = dict[str, Any]


class Field(NamedTuple):
    """One field of a declaration, with its type as written (`T | None` is `T`)."""

    name: str
    hint: Any
    option: Option
    default: Any
    required: bool


def fields_of(kind: type) -> Iterator[Field]:
    """The fields of a declaration, in order."""
    hints = typing.get_type_hints(kind)
    for field in in_order(kind):
        required = field.default is dataclasses.MISSING
        default = None if required else field.default
        yield Field(key_of(field), bare(hints[field.name]), field.metadata["option"], default, required)


def bare(hint: Any) -> Any:
    """The type itself, without its `None`."""
    if get_origin(hint) not in (Union, types.UnionType):
        return hint
    rest = tuple(held for held in get_args(hint) if held is not type(None))
    return rest[0] if len(rest) == 1 else Union[rest]  # noqa: UP007  # made of a tuple at run time


def argument_spec(kind: type) -> dict[str, Spec]:
    """The options of a declaration; `Required` and defaults as the model has them."""
    return {field.name: _option(field) for field in fields_of(kind)}


def _option(field: Field) -> Spec:
    spec = _type(field.hint)
    if field.required:
        spec["required"] = True
    elif field.default not in (None, ()):
        spec["default"] = encode(field.default)
    # Said even when it is false: Ansible guesses by name otherwise, and `password` here is the name of a secret.
    spec["no_log"] = field.option.secret
    return spec


def _type(hint: Any) -> Spec:
    origin = get_origin(hint)
    if origin is Literal:
        return {"type": "str", "choices": list(get_args(hint))}
    if origin is tuple:
        return _list(_type(bare(get_args(hint)[0])))
    if origin is dict:
        return {"type": "dict"}
    if dataclasses.is_dataclass(hint):
        return {"type": "dict", "options": argument_spec(typing.cast(type, hint))}
    if hint in (bool, int, float):
        return {"type": hint.__name__}
    # Value types read text; of several types the decoder chooses.
    return {"type": "raw" if origin in (Union, types.UnionType) else "str"}


def _list(item: Spec) -> Spec:
    return {"type": "list", "elements": item.pop("type"), **item}

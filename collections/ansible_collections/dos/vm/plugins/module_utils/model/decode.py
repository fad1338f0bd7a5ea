# SPDX-License-Identifier: GPL-3.0-or-later
"""From plain data to a declaration, and back: the only way in, and its inverse.

`decode` collects every problem of the whole value before it raises, each with its path and, where the caller can tell
(`where`), the file and line it was written at. For each type a decoder is built once and kept: a site of 20,000 virtual
machines goes through here, so the path of a value is only spelled out when there is something to say about it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ..errors import DeclarationError, Origin, Problem, join, meant, spell
from .declaration import Option, in_order, key_of
from .types import LARGEST, ByteSize, Name

T = TypeVar("T")
Where = Callable[[object], Origin | None]
Path = tuple["Path | None", "str | int"] | None

# The characters of XML 1.0, https://www.w3.org/TR/xml/#charsets
XML_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")

_BAD: Any = object()  # what a decoder returns after it has reported


class _Report:
    """Collects problems; knows how to find the nearest origin of a value that has none itself."""

    __slots__ = ("problems", "where")

    def __init__(self, where: Where) -> None:
        self.problems: list[Problem] = []
        self.where = where

    def add(self, path: Path, text: str, *nearest: object) -> Any:
        origin = next((found for value in nearest if (found := self.where(value)) is not None), None)
        self.problems.append(Problem(_spell(path), text, origin))
        return _BAD


Decoder = Callable[[Any, Path, _Report, Any], Any]


def decode(kind: type[T], data: object, *, path: str = "", where: Where = lambda value: None) -> T:
    """Make a `kind` of `data` (mappings, sequences, scalars), or raise `DeclarationError` with all that is wrong."""
    report = _Report(where)
    value = decoder(typing.cast(Any, kind))(data, None, report, None)
    if report.problems:
        raise DeclarationError(problem.under(path) for problem in report.problems)
    return typing.cast(T, value)


def encode(value: object) -> Any:
    """Plain data that `decode` turns into `value` again. Fields that hold their default are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            key: encode(held)
            for key, name, default in _defaults(type(value))
            if (held := getattr(value, name)) != default
        }
    if isinstance(value, Mapping):
        return {str(key): encode(held) for key, held in value.items()}
    if isinstance(value, tuple):
        return [encode(held) for held in value]
    if value is None or isinstance(value, (bool, float)):
        return value
    return str(value) if isinstance(value, str) or type(value) is not int else value


@functools.cache
def _defaults(kind: type) -> tuple[tuple[str, str, object], ...]:
    return tuple((key_of(field), field.name, field.default) for field in in_order(kind))


@functools.cache
def decoder(kind: Any) -> Decoder:
    """The decoder of a type: a declaration, a value type, `tuple[T, ...]`, `dict[str, T]`, `T | None`, `Literal`, a scalar."""
    origin = get_origin(kind)
    if origin is Literal:
        return _literal(get_args(kind))
    if origin in (Union, types.UnionType):
        return _union([alternative for alternative in get_args(kind) if alternative is not type(None)])
    if origin is tuple:
        return _tuple(get_args(kind)[0])
    if origin is dict:
        key, held = get_args(kind)
        return _mapping(key, held)
    if dataclasses.is_dataclass(kind):
        return _declaration(typing.cast(type, kind))
    return _SCALARS.get(kind) or _value(kind)


def _declaration(kind: type) -> Decoder:
    hints = typing.get_type_hints(kind)
    fields = {key_of(field): field for field in in_order(kind)}
    any_keys = getattr(kind, "ANY_KEYS", False)
    required = tuple(name for name, field in fields.items() if field.default is dataclasses.MISSING)
    retired: Mapping[str, str] = getattr(kind, "retired", {})
    # A decoder is looked up when it is first needed, so that a declaration may hold others of its own kind.
    decoders: dict[str, Decoder] = {}

    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        if not isinstance(data, Mapping):
            expected = ", ".join(required or list(fields)[:3])
            return report.add(
                path, f"{_kind_of(data)} where a mapping is expected, with keys like {expected}", data, near
            )
        before = len(report.problems)
        values: dict[str, Any] = {}
        for key, given in data.items():
            if key not in fields:
                if any_keys:
                    continue
                text = retired.get(str(key)) or _unknown(str(key), fields)
                report.add((path, str(key)), text, key, given, data)
                continue
            name = str(key)
            if given is None:
                if name in required:
                    report.add((path, name), "has no value, and one is required", key, data)
                continue
            run_field = decoders.get(name)
            if run_field is None:
                run_field = decoders[name] = _ranged(decoder(hints[fields[name].name]), fields[name].metadata["option"])
            values[fields[name].name] = run_field(given, (path, name), report, key)
        for name in required:
            if name not in data:
                report.add((path, name), "is required", data, near)
        if len(report.problems) > before:
            return _BAD
        try:
            return kind(**values)
        except DeclarationError as refused:
            for problem in refused.problems:
                held = _held(data, problem.path)
                report.problems.append(
                    Problem(join(_spell(path), problem.path), problem.text, report.where(held) or report.where(data))
                )
            return _BAD

    return run


def _ranged(inner: Decoder, option: Option) -> Decoder:
    low, high = option.low, option.high
    if option.instead:
        return _without_retired(inner, option.instead)
    if low is None and high is None:
        return inner

    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        value = inner(data, path, report, near)
        if value is _BAD:
            return value
        many = isinstance(value, (tuple, dict))
        size = len(value) if many or isinstance(value, str) else value
        if (low is not None and size < low) or (high is not None and size > high):
            if isinstance(value, str):
                wanted = _between(low, high, low)
                return report.add(path, f"has {size} characters, write {wanted} of them", data, near)
            as_written = type(value) if isinstance(value, int) and not isinstance(value, bool) else int
            between = _between(low and as_written(low), high and as_written(high), low)
            what = f"has {size} entries" if many else f"{value} is out of range"
            return report.add(path, f"{what}, write {'' if not many else 'a list of '}{between}", data, near)
        return value

    return run


def _without_retired(inner: Decoder, instead: Mapping[str, str]) -> Decoder:
    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        if isinstance(data, str) and data in instead:
            return report.add(path, f"{_quoted(data)} {instead[data]}", data, near)
        return inner(data, path, report, near)

    return run


def _between(low: object, high: object, floor: int | None) -> str:
    if high is None:
        return f"{low} or more"
    return f"at most {high}" if floor is None else f"{low} to {high}"


def _tuple(item: Any) -> Decoder:
    run_item = None

    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        nonlocal run_item
        run_item = run_item or decoder(item)
        if isinstance(data, (str, bytes, Mapping)) or not isinstance(data, Sequence):
            return report.add(
                path, f"{_kind_of(data)} where a list is expected, write each entry after a '-'", data, near
            )
        values = [run_item(held, (path, index), report, data) for index, held in enumerate(data)]
        return _BAD if _BAD in values else tuple(values)

    return run


def _mapping(key: Any, item: Any) -> Decoder:
    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        if not isinstance(data, Mapping):
            return report.add(path, f"{_kind_of(data)} where a mapping by name is expected", data, near)
        run_key, run_item = decoder(key), decoder(item)
        values = {
            run_key(name, (path, str(name)), report, data): run_item(
                {} if held is None else held, (path, str(name)), report, name
            )
            for name, held in data.items()
        }
        return _BAD if _BAD in values or _BAD in values.values() else values

    return run


def _union(alternatives: list[Any]) -> Decoder:
    """`T | None` is `T`, since a missing value never gets here. Of several types the first that accepts is taken."""
    if len(alternatives) == 1:
        return decoder(alternatives[0])
    decoders = [decoder(alternative) for alternative in alternatives]

    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        attempts: list[list[Problem]] = []
        for candidate in decoders:
            attempt = _Report(report.where)
            value = candidate(data, path, attempt, near)
            if not attempt.problems:
                return value
            attempts.append(attempt.problems)
        # The alternative that got furthest into the value is the one that was meant.
        furthest: list[Problem] = max(attempts, key=lambda problems: len(problems[0].path))
        report.problems.extend(furthest)
        return _BAD

    return run


# YAML 1.1 reads these words as flags where they stand without quotes.
_SWITCHES: Mapping[bool, tuple[str, str]] = {True: ("on", "yes"), False: ("off", "no")}


def _literal(choices: tuple[Any, ...]) -> Decoder:
    listed = ", ".join(map(str, choices))

    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        for choice in choices:
            if data == choice and isinstance(data, bool) == isinstance(choice, bool):
                return choice
        switch = [choice for choice in choices if isinstance(data, bool) and choice in _SWITCHES[data]]
        if len(switch) == 1:
            return switch[0]
        if not isinstance(data, str) and str(data) in choices:
            return report.add(path, f"{_quoted(data)} is a number to YAML, write it in quotes: '{data}'", data, near)
        if isinstance(data, float):
            return report.add(path, f"{data} is not a choice{_UNQUOTED}. The choices are: {listed}", data, near)
        close = meant(str(data), map(str, choices))
        hint = f"{close} The choices are: {listed}" if close else f"write one of: {listed}"
        return report.add(path, f"{_quoted(data)} is not a choice, {hint}", data, near)

    return run


def _value(kind: Callable[[Any], Any]) -> Decoder:
    def run(data: Any, path: Path, report: _Report, near: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, (str, int)):
            hint = _UNQUOTED if isinstance(data, (bool, float)) else ""
            return report.add(path, f"{_kind_of(data)} where {_article(kind)} is expected{hint}", data, near)
        try:
            return kind(data)
        except ValueError as refused:
            hint = _UNQUOTED if kind is Name and isinstance(data, int) else ""
            return report.add(path, f"{refused}{hint}", data, near)

    return run


# The value is what YAML made of the text: 0711 became 457, `no` became False. So the advice names the text.
_UNQUOTED = " (YAML made this of text without quotes), put quotes around the text in the file"


def _text(data: Any, path: Path, report: _Report, near: Any) -> Any:
    if not isinstance(data, str):
        hint = "" if data is None or isinstance(data, (Mapping, list, tuple)) else _UNQUOTED
        return report.add(path, f"{_kind_of(data)} where text is expected{hint}", data, near)
    if not XML_TEXT.fullmatch(data):
        return report.add(path, f"{_quoted(data)} has control characters, which XML cannot carry", data, near)
    return str(data)


def _flag(data: Any, path: Path, report: _Report, near: Any) -> Any:
    if not isinstance(data, bool):
        return report.add(path, f"{_quoted(data)} is not a flag, write true or false", data, near)
    return data


def _whole(data: Any, path: Path, report: _Report, near: Any) -> Any:
    if isinstance(data, bool) or not isinstance(data, int):
        return report.add(path, f"{_quoted(data)} is not a whole number", data, near)
    if abs(data) > LARGEST:
        return report.add(path, "the number has more than 63 bits, write a smaller one", data, near)
    return int(data)


def _real(data: Any, path: Path, report: _Report, near: Any) -> Any:
    if isinstance(data, bool) or not isinstance(data, (int, float)) or not abs(data) <= LARGEST:
        return report.add(path, f"{_quoted(data)} is not a number", data, near)
    return float(data)


def _size(data: Any, path: Path, report: _Report, near: Any) -> Any:
    if isinstance(data, int) and not isinstance(data, bool):
        return report.add(path, f"{data} has no unit, write {data} MiB, {data} GiB or {data} B", data, near)
    return _value(ByteSize)(data, path, report, near)


_SCALARS: Mapping[Any, Decoder] = {str: _text, bool: _flag, int: _whole, float: _real, ByteSize: _size}


def _unknown(key: str, fields: Mapping[str, object]) -> str:
    listed = ", ".join(fields)
    return f"is not a known field, {meant(key, fields, f'the fields are: {listed}')}"


def _quoted(data: object) -> str:
    if isinstance(data, int) and abs(data) > LARGEST:
        return "a number of more than 63 bits"  # Python refuses to write one of thousands of digits
    text = repr(data if isinstance(data, (bool, int, float, type(None))) else str(data))
    return text if len(text) <= 60 else f"{text[:56]}…'"


def _kind_of(data: object) -> str:
    if data is None:
        return "nothing"
    if isinstance(data, Mapping):
        return "a mapping"
    if isinstance(data, (list, tuple)):
        return "a list"
    return _quoted(data)


def _article(kind: Any) -> str:
    words = {
        "ByteSize": "a size like 512 MiB",
        "Cidr": "an address like 10.0.0.1/24",
        "Prefix": "a network like 10.0.0.0/24",
        "DnsName": "a DNS name",
        "Line": "a line of text",
    }
    return words.get(kind.__name__, f"a {kind.__name__.lower()}")


def _spell(path: Path) -> str:
    parts: list[str | int] = []
    while path is not None:
        path, part = path
        parts.append(part)
    return spell(reversed(parts))


def _held(data: Any, path: str) -> object:
    """The value at `path` in plain data, as far as the path can be followed: what a check of two fields points at."""
    for part in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, Sequence) and not isinstance(data, str) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
    return data

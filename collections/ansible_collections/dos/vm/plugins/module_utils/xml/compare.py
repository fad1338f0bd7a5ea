# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between observed and desired, each a `Change` that knows where it is in both the XML and the YAML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from .build import compact
from .mask import HIDDEN, masked
from .merge import identified
from .shape import Attr, Shape, Show

if TYPE_CHECKING:
    from lxml.etree import _Element as Element


Step = tuple[str, tuple[str, ...]]  # a tag, and the identity of the element of that tag


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    `xpath` is the place by tags alone (`network/ip/dhcp/host/@ip`): what the tables of `plan/` are written in. `path` is the
    place in the operator's words (`subnets[10.0.0.1].dhcp.hosts[52:54:00:00:00:01].ip`). `before` and `after` are texts,
    `None` for nothing. `within` are the keyed elements on the way there, by which an action finds them again.
    """

    op: Literal["add", "remove", "replace"]
    xpath: str
    path: str
    before: str | None
    after: str | None
    within: tuple[Step, ...] = ()

    def key(self, tag: str) -> tuple[str, ...]:
        """The identity of the element of that tag that the change is in; empty when it is in none."""
        return next((key for held, key in reversed(self.within) if held == tag), ())


class _Place(NamedTuple):
    """Where the walk is: by tags, in the operator's words, and by the keyed elements around it."""

    xpath: str
    path: str
    within: tuple[Step, ...]

    def attribute(self, name: str, word: str) -> _Place:
        return _Place(f"{self.xpath}/@{name}", _dotted(self.path, word), self.within)

    def child(self, tag: str, word: str, key: tuple[str, ...] = ()) -> _Place:
        named = f"{word}[{' '.join(filter(None, key))}]" if any(key) else word
        within = (*self.within, (tag, key)) if key else self.within
        return _Place(f"{self.xpath}/{tag}", _dotted(self.path, named), within)


def compare(observed: Element, desired: Element, shape: Shape) -> Iterator[Change]:
    """What must change for `observed` to become `desired`; both normalised."""
    return _element(observed, desired, shape, _Place(shape.tag, "", ()))


def _element(observed: Element | None, desired: Element | None, shape: Shape, place: _Place) -> Iterator[Change]:
    if observed is not None and desired is not None and _same(observed, desired):
        return
    if shape.whole:
        yield from _value(_shown(observed), _shown(desired), place, shape.secret)
        return
    for name in _names(observed, desired):
        attribute = shape.attributes.get(name) or Attr(name)
        before = None if observed is None else observed.get(name)
        after = None if desired is None else desired.get(name)
        where = place.attribute(name, attribute.field or name)
        yield from _value(before, after, where, attribute.secret, attribute.show)
    if shape.text:
        before = None if observed is None else observed.text or ""
        after = None if desired is None else desired.text or ""
        yield from _value(before, after, place, shape.secret, shape.show)
    yield from _children(observed, desired, shape, place)


def _same(one: Element, other: Element) -> bool:
    # Most of what is compared is equal, and to see that costs a tenth of looking for the differences.
    return (
        one.tag == other.tag
        and (one.text or "") == (other.text or "")
        and len(one) == len(other)
        and dict(one.attrib) == dict(other.attrib)
        and all(map(_same, one, other))
    )


def _children(observed: Element | None, desired: Element | None, shape: Shape, place: _Place) -> Iterator[Change]:
    before = dict(identified(observed, shape)) if observed is not None else {}
    after = dict(identified(desired, shape)) if desired is not None else {}
    for identity in [*before, *(identity for identity in after if identity not in before)]:
        tag, key = identity
        old, new = before.get(identity), after.get(identity)
        known = shape.children.get(tag)
        if known is None:
            yield from _value(_shown(old), _shown(new), place.child(tag, f"xml:{_bare(tag)}"), False)
            continue
        if known.quiet and (old is None or new is None):
            continue
        where = place.child(tag, known.field or tag, key if known.key else ())
        if (known.key or known.flag) and (old is None or new is None):
            yield from _value(_shown(old), _shown(new), where, known.secret)
        else:
            yield from _element(old, new, known, where)
    yield from _order(before, after, shape, place)


def _order(before: dict[Step, Element], after: dict[Step, Element], shape: Shape, place: _Place) -> Iterator[Change]:
    for tag, known in shape.children.items():
        if not known.ordered:
            continue
        old, new = ([" ".join(own) for name, own in side if name == tag] for side in (before, after))
        if old != new and sorted(old) == sorted(new):
            where = place.child(tag, known.field or tag)
            yield Change("replace", where.xpath, where.path, ", ".join(old), ", ".join(new), where.within)


def _value(
    before: str | None, after: str | None, place: _Place, secret: bool, show: Show | None = None
) -> Iterator[Change]:
    if before == after:
        return
    op: Literal["add", "remove", "replace"] = "add" if before is None else "remove" if after is None else "replace"
    if secret:
        before, after = (side and HIDDEN for side in (before, after))
    elif show is not None:
        before, after = (side and show(side) for side in (before, after))
    yield Change(op, place.xpath, place.path, before, after, place.within)


def _names(observed: Element | None, desired: Element | None) -> list[str]:
    names = list(observed.attrib) if observed is not None else []
    return names + [name for name in (desired.attrib if desired is not None else ()) if name not in names]


def _dotted(path: str, word: str) -> str:
    if word == ".":
        return path
    return f"{path}.{word}" if path else word


def _shown(element: Element | None) -> str | None:
    return None if element is None else compact(masked(element))


def _bare(tag: str) -> str:
    return tag.rpartition("}")[2]

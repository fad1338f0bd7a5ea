# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared and observed make desired: the declaration, plus what libvirt computed for it, plus what is foreign to us.

All three are normalised elements. `overlay` is the same walk with another purpose: it lays an operator's own XML over
what we rendered, by identity and never by text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING

from ..errors import DeclarationError
from ..model.address import NAMESPACE
from .build import compact, parse
from .shape import SILENT, Chosen, Shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

Identity = tuple[str, tuple[str, ...]]

# What an overlay says of an element besides its content: that it goes, and which attributes of it do.
OPERATION, REMOVE = f"{{{NAMESPACE}}}op", "remove"
WITHOUT = f"{{{NAMESPACE}}}without"


def identified(element: Element, shape: Shape) -> Iterator[tuple[Identity, Element]]:
    """The children of `element` with what tells them apart: their tag, then their key, or their position if foreign."""
    seen: defaultdict[str, int] = defaultdict(int)
    for child in element:
        tag = str(child.tag)
        known = shape.children.get(tag)
        index = seen[tag]
        seen[tag] += 1
        if known is None or (not known.key and index):
            yield (tag, (str(index),)), child
        else:
            yield (tag, known.identity(child, index) if known.key else ()), child


def merge(declared: Element, observed: Element | None, shape: Shape) -> Element:
    """The desired element. Neither argument is changed."""
    if observed is None:
        return deepcopy(declared)
    desired = declared.makeelement(declared.tag, nsmap=declared.nsmap or observed.nsmap)
    _merge_attributes(desired, declared, observed, shape)
    desired.text = declared.text
    if declared.text and observed.text and shape.settles and shape.settles(declared.text, observed.text):
        desired.text = observed.text
    if shape.whole:
        desired.extend(deepcopy(child) for child in declared)
        return desired
    if len(declared) or len(observed):  # most elements have no children
        desired.extend(child for _, child in sorted(_seated(declared, observed, shape), key=lambda seated: seated[0]))
    return desired


def _seated(declared: Element, observed: Element, shape: Shape) -> Iterator[tuple[int, Element]]:
    """The desired children, each with the seat of what it is on the host; a new one sits behind the declared one before it.

    So two texts that are laid side by side differ where the meaning does. Siblings of one tag are in the declared order.
    """
    on_host = dict(identified(observed, shape))
    seats = {child: seat for seat, child in enumerate(observed)}  # all of them: two may have one identity
    pairs = paired(declared, on_host, shape)
    free: defaultdict[str, list[int]] = defaultdict(list)
    for held in sorted((found for _, found in pairs if found is not None), key=lambda found: -seats[found]):
        free[str(held.tag)].append(seats[held])
    last = -1
    for child, found in pairs:
        known = shape.children.get(str(child.tag))
        if known is not None and known.once:
            if found is not None:
                yield free[str(child.tag)].pop(), deepcopy(found)
            continue
        if found is not None:
            last = free[str(child.tag)].pop()
        if known is not None:
            yield last, merge(child, found, known)
        else:
            yield last, deepcopy(found if found is not None and covers(found, child) else child)
    for child in on_host.values():
        kept = _kept(child, shape.children.get(str(child.tag)), declared)
        if kept is not None:
            yield seats[child], kept


def _merge_attributes(desired: Element, declared: Element, observed: Element, shape: Shape) -> None:
    for name, value in declared.attrib.items():
        attribute = shape.attributes.get(name)
        on_host = observed.get(name)
        if on_host is not None and attribute and attribute.settles and attribute.settles(value, on_host):
            value = on_host
        desired.set(name, value)
    for name, value in observed.attrib.items():
        attribute = shape.attributes.get(name)
        if name in declared.attrib or shape.whole:
            continue
        if attribute is None or chosen(attribute.computed, observed, declared):
            desired.set(name, value)


def paired(declared: Element, on_host: dict[Identity, Element], shape: Shape) -> list[tuple[Element, Element | None]]:
    """Each declared child with the one that it is on the host, which is taken out of `on_host`."""
    seats = list(on_host)
    wanted = list(identified(declared, shape))
    pairs = [(child, on_host.pop(identity, None)) for identity, child in wanted]
    for known in shape.children.values():
        if known.alike and on_host:
            _match_silent(pairs, on_host, known, [seat for seat in seats if seat[0] == known.tag])
    return pairs


def _match_silent(
    pairs: list[tuple[Element, Element | None]], on_host: dict[Identity, Element], shape: Shape, seats: list[Identity]
) -> None:
    """Give those that are silent about their key one from the host: in the same place if alike, else alike, else any."""
    places = [index for index, (child, _) in enumerate(pairs) if child.tag == shape.tag]
    silent = [
        (seat, place)
        for seat, place in enumerate(places)
        if pairs[place][1] is None and shape.identity(pairs[place][0], 0)[0].startswith(SILENT)
    ]
    for attempt in ("same place", "alike", "any"):
        for seat, place in silent:
            child, found = pairs[place]
            if found is None:
                candidates = seats[seat : seat + 1] if attempt == "same place" else seats
                likeness = None if attempt == "any" else shape.likeness(child)
                pairs[place] = (child, _taken(on_host, candidates, shape, likeness))


def _taken(
    on_host: dict[Identity, Element], candidates: list[Identity], shape: Shape, likeness: tuple[str, ...] | None
) -> Element | None:
    for identity in candidates:
        held = on_host.get(identity)
        if held is not None and likeness in (None, shape.likeness(held)):
            return on_host.pop(identity)
    return None


def chosen(computed: bool | Chosen, observed: Element, declared: Element) -> bool:
    return computed if isinstance(computed, bool) else computed(observed, declared)


def _kept(observed: Element, shape: Shape | None, around: Element) -> Element | None:
    """What stays of an observed element about which the declaration, `around` it, is silent."""
    if shape is None or chosen(shape.computed, observed, around):
        return deepcopy(observed)
    if shape.key or shape.flag or shape.text or shape.whole:
        return None
    # A container: it goes, unless something inside is foreign or libvirt's own choice.
    rest = merge(observed.makeelement(observed.tag), observed, shape)
    foreign = [name for name in rest.attrib if name not in shape.attributes]
    return rest if len(rest) or foreign else None


def covers(observed: Element, declared: Element) -> bool:
    """Whether everything the declared element says, the observed one says too; libvirt may have added to it."""
    if observed.tag != declared.tag or (declared.text or "").strip() != (observed.text or "").strip():
        return False
    if any(observed.get(name) != value for name, value in declared.attrib.items()):
        return False
    rest = list(observed)
    for child in declared:
        match = next((candidate for candidate in rest if covers(candidate, child)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def overlay(rendered: Element, patch: Element, shape: Shape) -> list[str]:
    """Lay `patch` over `rendered` in place; the paths of values that `patch` changed rather than added are returned.

    An element with `dos:op="remove"` takes away the one it names, `dos:without="a b"` the attributes of those names.
    """
    overridden = _lay_attributes(rendered, patch)
    if patch.text and patch.text.strip():
        if rendered.text and rendered.text != patch.text:
            overridden.append("text()")
        rendered.text = patch.text
    present = dict(identified(rendered, shape))
    for identity, child in identified(patch, shape):
        tag = str(child.tag)
        known, found = shape.children.get(tag), present.get(identity)
        if child.get(OPERATION) == REMOVE:
            if found is not None:
                rendered.remove(present.pop(identity))
                overridden.append(tag)
        elif known is not None and found is not None:
            overridden += [f"{tag}/{path}" for path in _lay_known(rendered, found, child, known)]
        elif known is not None or not any(compact(child) == compact(held) for held in rendered.iterfind(tag)):
            rendered.append(deepcopy(child))
    return overridden


def _lay_known(rendered: Element, found: Element, patch: Element, shape: Shape) -> list[str]:
    if not shape.whole:
        return overlay(found, patch, shape)
    if compact(found) == compact(patch):
        return []
    rendered.replace(found, deepcopy(patch))
    return ["."]


def _lay_attributes(rendered: Element, patch: Element) -> list[str]:
    gone = [name for name in patch.get(WITHOUT, "").split() if rendered.attrib.pop(name, None) is not None]
    said = {name: value for name, value in patch.attrib.items() if name not in (OPERATION, WITHOUT)}
    overridden = [f"@{name!s}" for name, value in said.items() if rendered.get(name, value) != value]
    for name, value in said.items():
        rendered.set(name, value)
    return [*(f"@{name}" for name in gone), *overridden]


def laid_over(rendered: Element, text: str | None, shape: Shape) -> Element:
    """`rendered`, with an operator's own elements over it: bare, or inside the element they belong to."""
    if not text:
        return rendered
    patch = parse(f"<{shape.tag}>{text}</{shape.tag}>")
    if len(patch) == 1 and patch[0].tag == shape.tag:
        patch = patch[0]
    with same_identity(rendered, "xml"):
        overlay(rendered, patch, shape)
    return rendered


@contextmanager
def same_identity(rendered: Element, path: str) -> Iterator[None]:
    """Whatever is laid over `rendered` inside, it stays the object that it was: by name, UUID and ownership mark.

    Declarations refuse such a fragment before (`model/fragment_rules`); this holds for what they do not foresee. Raises
    `DeclarationError`.
    """
    before = _identity(rendered)
    yield
    for what, value in _identity(rendered).items():
        if value != before[what]:
            raise DeclarationError.at(
                path, f"changes the {what} from {before[what]} to {value}: leave it out (CUST-02)"
            )


def _identity(element: Element) -> dict[str, str | None]:
    mark = element.find(f"metadata/{{{NAMESPACE}}}object")
    return {
        "name": element.get("name") or element.findtext("name"),
        "UUID": element.findtext("uuid"),
        "path": element.findtext("target/path"),
        "ownership mark": None if mark is None else compact(mark),
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fields of a declaration leave unsaid of an object on the host, as an overlay that says it.

Laid over what the fields render to, the residue gives an object that compares equal to the observed one. It says what is
foreign to our tables too, so that the declaration makes the same object elsewhere; it is silent about what libvirt computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from .._thirdparty import etree
from ..model.address import NAMESPACE
from .compare import Change, compare
from .mask import SECRET_ATTRIBUTES
from .merge import OPERATION, REMOVE, WITHOUT, chosen, identified, merge, overlay, paired
from .normalize import normalize
from .shape import INDEX, Shape

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ATTEMPTS = 12  # each takes one more group of siblings whole, and a tree is not deeper
# Computed by our tables because libvirt writes them, yet worth saying where they differ from what it would write.
USUAL = {
    "domain/on_poweroff": "destroy",
    "domain/on_reboot": "restart",
    "domain/on_crash": "destroy",
    "domain/devices/watchdog": "itco",
}


def residue(observed: Element, rendered: Element, shape: Shape) -> Element | None:
    """The overlay; `None` when the fields say everything. Passwords are never part of it."""
    found = normalize(observed, shape)
    whole: set[str] = set()
    patch = None
    for _ in range(ATTEMPTS):
        patch = _Difference(shape, frozenset(whole)).element(found, normalize(rendered, shape), shape, shape.tag)
        coarser = {path for held in unsaid(observed, rendered, patch, shape) if (path := _coarser(held.xpath, whole))}
        if not coarser:
            break
        whole |= coarser
    if patch is not None:
        etree.cleanup_namespaces(patch, top_nsmap={"dos": NAMESPACE} if _instructs(patch) else None)
    return patch


def _instructs(patch: Element) -> bool:
    return any(OPERATION in held.attrib or WITHOUT in held.attrib for held in patch.iter())


def unsaid(observed: Element, rendered: Element, patch: Element | None, shape: Shape) -> list[Change]:
    """What would change on the host if `rendered` with `patch` over it were declared."""
    laid = deepcopy(rendered)
    if patch is not None:
        overlay(laid, patch, shape)
    found = normalize(observed, shape)
    return list(compare(found, merge(normalize(laid, shape), found, shape), shape))


def _coarser(xpath: str, whole: set[str]) -> str:
    """The deepest element on the way to a difference that was not yet taken whole."""
    steps = [step for step in _steps(xpath) if not step.startswith("@")]
    for length in range(len(steps), 1, -1):
        path = "/".join(steps[:length])
        if path not in whole:
            return path
    return ""


def _steps(xpath: str) -> list[str]:
    """The steps of a path; a namespace may have slashes of its own."""
    steps: list[str] = []
    for part in xpath.split("/"):
        if steps and steps[-1].count("{") > steps[-1].count("}"):
            steps[-1] += f"/{part}"
        else:
            steps.append(part)
    return steps


class _Difference:
    """One walk over two normalised trees. Siblings whose path is in `whole` are taken out and put back as observed."""

    def __init__(self, root: Shape, whole: frozenset[str]) -> None:
        self.root, self.whole = root, whole

    def element(self, observed: Element, rendered: Element, shape: Shape, path: str) -> Element | None:
        """What an overlay of `rendered` must say of itself and below; `None` for nothing."""
        patch = observed.makeelement(observed.tag, nsmap=observed.nsmap)
        self._attributes(patch, observed, rendered, shape)
        if shape.text and observed.text and not _settled(shape, rendered.text, observed.text):
            patch.text = observed.text
        for tag in dict.fromkeys(str(child.tag) for side in (rendered, observed) for child in side):
            patch.extend(self._siblings(observed, rendered, shape, tag, f"{path}/{tag}"))
        return patch if patch.attrib or patch.text or len(patch) else None

    @staticmethod
    def _attributes(patch: Element, observed: Element, rendered: Element, shape: Shape) -> None:
        for name, value in observed.attrib.items():
            known = shape.attributes.get(str(name))
            said = rendered.get(name)
            computed = said is None and known is not None and chosen(known.computed, observed, rendered)
            secret = name in SECRET_ATTRIBUTES or (known is not None and known.secret)
            if not computed and not secret and not _settled(known, said, str(value)):
                patch.set(name, value)
        gone = [str(name) for name in rendered.attrib if name not in observed.attrib]
        if gone:
            patch.set(WITHOUT, " ".join(gone))

    def _siblings(self, observed: Element, rendered: Element, shape: Shape, tag: str, path: str) -> Iterator[Element]:
        known = shape.children.get(tag)
        theirs = [(identity, child) for identity, child in identified(observed, shape) if identity[0] == tag]
        twice = Counter(identity for identity, _ in theirs).most_common(1)
        if known is None or path in self.whole or (twice and twice[0][1] > 1):
            yield from (_stub(child, known, remove=True) for child in rendered.iterfind(tag))
            yield from (_copy(child, known) for _, child in theirs)
            return
        on_host = dict(theirs)
        pairs = [pair for pair in paired(rendered, on_host, shape) if pair[0].tag == tag]
        yield from self._known(pairs, known, path)
        for child in on_host.values():
            if chosen(known.computed, child, rendered) and not _worth_saying(child, path):
                continue
            said = self._alone(child, known, path)
            if said is not None:
                yield said

    def _alone(self, observed: Element, shape: Shape, path: str) -> Element | None:
        """What an overlay says of an element that the rendered one has not: of a container, what libvirt did not choose."""
        if shape.key or shape.flag or shape.text or shape.whole:
            return _copy(observed, shape)
        return self.element(observed, observed.makeelement(observed.tag), shape, path)

    def _known(self, pairs: list[tuple[Element, Element | None]], shape: Shape, path: str) -> list[Element]:
        """The patches of what is on both sides, or in the rendered one alone."""
        patches = [(child, self._one(child, found, shape, path)) for child, found in pairs]
        if not any(patch is not None for _, patch in patches):
            return []
        by_place = INDEX in shape.key or any(shape.identity(child, 0)[:1] == ("#0",) for child, _ in patches)
        return [
            _stub(child, shape) if patch is None else patch for child, patch in patches if patch is not None or by_place
        ]

    def _one(self, rendered: Element, observed: Element | None, shape: Shape, path: str) -> Element | None:
        if observed is None:
            return None if shape.quiet else _stub(rendered, shape, remove=True)
        if shape.whole:
            return None if _same(observed, rendered) else deepcopy(observed)
        patch = self.element(observed, rendered, shape, path)
        if patch is None:
            return None
        stub = _stub(rendered, shape)
        return _joined(stub, patch, shape)


def _worth_saying(element: Element, path: str) -> bool:
    if path in USUAL:
        return (element.text or element.get("model")) != USUAL[path]
    scsi = path == "domain/devices/controller" and element.get("type") == "scsi"
    return path == "domain/pm" or (scsi and element.get("model") is not None)


def _settled(row: Any, said: str | None, value: str) -> bool:
    return said == value or bool(said is not None and row is not None and row.settles and row.settles(said, value))


def _same(one: Element, other: Element) -> bool:
    texts = (one.text or "").strip() == (other.text or "").strip()
    return texts and dict(one.attrib) == dict(other.attrib) and len(one) == len(other) and all(map(_same, one, other))


def _copy(element: Element, shape: Shape | None) -> Element:
    """The element as it was observed, without passwords and without the place libvirt plugged it into."""
    copied = deepcopy(element)
    copied.tail = None
    for held in copied.iter():
        for name in SECRET_ATTRIBUTES & set(map(str, held.attrib)):
            del held.attrib[name]
    if shape is not None:
        for child in list(copied):
            known = shape.children.get(str(child.tag))
            if known is not None and (known.quiet or (known.tag == "alias" and not _chosen_alias(child))):
                copied.remove(child)
    return copied


def _chosen_alias(alias: Element) -> bool:
    return alias.get("name", "").startswith("ua-")  # only these may be given by a person


def _stub(element: Element, shape: Shape | None, *, remove: bool = False) -> Element:
    """No more of an element than tells it apart from its siblings."""
    stub = element.makeelement(element.tag, nsmap=element.nsmap)
    for part in shape.key if shape is not None else ():
        if part != INDEX:
            _say(stub, element, part)
    if remove:
        stub.set(OPERATION, REMOVE)
    return stub


def _say(stub: Element, element: Element, part: str) -> None:
    for alternative in part.split("|"):
        steps, at, name = alternative.partition("@")
        steps = steps.rstrip("/.")
        source = element.find(steps) if steps else element
        value = None if source is None else source.get(name) if at else source.text
        if value is None or not value.strip():
            continue
        place = stub
        for step in steps.split("/") if steps else ():
            below = place.find(step)
            if below is None:
                below = place.makeelement(step)
                place.append(below)
            place = below
        if at:
            place.set(name, value)
        else:
            place.text = value
        return


def _joined(stub: Element, patch: Element, shape: Shape) -> Element:
    """The patch with the identity of the stub, whose elements the patch may have too."""
    for name, value in stub.attrib.items():
        if patch.get(name) is None:
            patch.set(name, value)
    if stub.text and not patch.text:
        patch.text = stub.text
    for child in stub:
        known, below = shape.children.get(str(child.tag)), patch.find(str(child.tag))
        if below is None:
            patch.insert(0, child)
        elif known is not None:
            _joined(child, below, known)
    return patch

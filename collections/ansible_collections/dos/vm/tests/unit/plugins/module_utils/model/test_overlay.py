# SPDX-License-Identifier: GPL-3.0-or-later
"""The path in a definition says which directory, which machine and which image."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dosvm.model.overlay import Layer, image_of, layered, link, split

PART = st.text("abc.-_", min_size=1, max_size=6).filter(lambda text: text not in (".", ".."))
PATH = st.lists(PART, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATH, PATH)
def test_a_link_says_its_directory_and_its_image(directory: str, image: str) -> None:
    assert split(link(directory, "web-1", "vda", image)) == (directory, image)


@given(PATH)
def test_a_file_that_is_no_link_stands_for_itself(path: str) -> None:
    assert split(path) == (None, path)
    assert image_of(path) == path


def test_what_only_looks_like_a_link_is_a_file() -> None:
    for path in ("/srv/dosvm-overlays/x", "/srv/dosvm-overlays/web-1/vda", "/dosvm-overlays/web-1/vda/srv/a"):
        assert split(path) == (None, path)


@given(PATH, PATH)
def test_a_layer_says_all_that_it_is(directory: str, file: str) -> None:
    layer = Layer(directory, "web-1", "one.1", "vda", file)
    assert layered(layer.path) == layer
    assert image_of(layer.path) == file
    assert layered(file) is None

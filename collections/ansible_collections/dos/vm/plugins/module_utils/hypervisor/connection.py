# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching libvirt, and turning what it refuses into our own words, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .._thirdparty import libvirt, require
from ..errors import HypervisorError
from ..xml.mask import concealed


def open_connection(uri: str) -> Any:
    """A connection to `uri`. Raises `HypervisorError` that says what to do."""
    require("libvirt", "lxml")
    # Otherwise the binding prints every error, also those that are an answer, on the stderr of the Ansible module.
    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as refused:
        text = f"{refused.get_error_message()}; {_remedy(refused)}"
        raise HypervisorError(f"connect to {uri}", text, refused.get_error_code()) from None


def _remedy(refused: Any) -> str:
    if "Permission denied" in str(refused) or refused.get_error_code() == libvirt.VIR_ERR_AUTH_FAILED:
        return "run as root (become: true), or add the user to the group libvirt"
    return "libvirt does not run here or the URI is wrong: systemctl start libvirtd (or virtqemud), then try again"


@contextmanager
def saying(operation: str, values: Iterable[bytes] = ()) -> Iterator[None]:
    """Turns libvirt's refusal into ours. `values` are secrets: libvirt quotes what it could not parse."""
    try:
        yield
    except libvirt.libvirtError as refused:
        text = refused.get_error_message() or str(refused)
        raise HypervisorError(operation, concealed(text, values), refused.get_error_code()) from None


class allowing:  # read as a word: with allowing("VIR_ERR_NO_DOMAIN")
    """For refusals that are an answer: `VIR_ERR_*` by name."""

    def __init__(self, *names: str) -> None:
        self.codes = [getattr(libvirt, name) for name in names]

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, refused: object, trace: object) -> bool:
        return isinstance(refused, libvirt.libvirtError) and refused.get_error_code() in self.codes


def constant(prefix: str, word: str) -> int:
    """libvirt's number for a word of ours: `VIR_NETWORK_SECTION`, `ip-dhcp-host`."""
    return int(getattr(libvirt, f"{prefix}_{word.upper().replace('-', '_')}"))

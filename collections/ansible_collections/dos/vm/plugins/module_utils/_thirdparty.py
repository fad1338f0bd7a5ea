# SPDX-License-Identifier: GPL-3.0-or-later
"""The two compiled libraries a managed host must have, imported in one place and guarded.

Nothing here is used while modules are being imported: `ansible-test` and `ansible-doc` import every file on machines that
have neither library. A front end calls `require()` first, so that a host without them gets one clear sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import MissingLibraryError

if TYPE_CHECKING:
    import libvirt
    from lxml import etree
else:
    try:
        import libvirt
    except ImportError:
        libvirt = None
    try:
        from lxml import etree
    except ImportError:
        etree = None

PACKAGES = {
    "libvirt": "python3-libvirt (Debian, Ubuntu, RHEL family) or libvirt-python from PyPI",
    "lxml": "python3-lxml (Debian, Ubuntu, RHEL family) or lxml from PyPI",
}


def require(*libraries: str) -> None:
    """Raise `MissingLibraryError` naming every one of `libraries` ("libvirt", "lxml") that could not be imported."""
    loaded = {"libvirt": libvirt, "lxml": etree}
    missing = [f"{name}: install {PACKAGES[name]}" for name in libraries if loaded[name] is None]
    if missing:
        raise MissingLibraryError("this host's Python lacks " + "; ".join(missing))


__all__ = ["etree", "libvirt", "require"]

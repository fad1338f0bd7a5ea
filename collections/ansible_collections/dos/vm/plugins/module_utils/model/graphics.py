# SPDX-License-Identifier: GPL-3.0-or-later
"""A remote console, VNC or SPICE; see https://libvirt.org/formatdomain.html#graphical-framebuffers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from .declaration import declaration, option
from .types import Address, Name

# What QEMU has of them (GFX-05).
KEYMAPS = (
    "ar", "bepo", "cz", "da", "de", "de-ch", "en-gb", "en-us", "es", "et", "fi", "fo", "fr", "fr-be", "fr-ca", "fr-ch", "hr",
    "hu", "is", "it", "ja", "lt", "lv", "mk", "nl", "no", "pl", "pt", "pt-br", "ru", "sl", "sv", "th", "tr",
)  # fmt: skip


def check_keymap(field: str, keymap: str | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a keymap that is said in `field`."""
    if keymap is not None and keymap not in KEYMAPS:
        yield field, f"{keymap} is none that QEMU has, write one of {', '.join(KEYMAPS)} (GFX-05)"


@declaration
class Graphics:
    """A remote console."""

    type: Literal["vnc", "spice"] = option("Protocol.", spec="GFX-T1.1", default="vnc")
    port: int | None = option(
        "Fixed port; chosen at each start when not given.", spec="GFX-T1.3", default=None, low=5900, high=65535
    )
    tls_port: int | None = option("TLS port of SPICE.", spec="GFX-T1.9", default=None, low=5900, high=65535)
    listen: Address | None = option(
        "Address it listens on; that of C(dos_system), or 127.0.0.1, when not given.", spec="GFX-T1.8", default=None
    )
    password: Name | None = option("Name of the secret that holds the password.", spec="GFX-T1.4", default=None)
    password_valid_to: str | None = option(
        "When the password ends, 2026-12-31T23:59:59 in UTC.", spec="GFX-T1.5", default=None
    )
    keep_connections: bool = option("Keep connections when the password changes.", spec="GFX-T1.6", default=False)
    share_policy: Literal["allow-exclusive", "force-shared", "ignore"] | None = option(
        "Who may connect beside others (GFX-02). With V(allow-exclusive), and when nothing is said, a client may ask to be alone, which "
        "ends the others, and nobody comes beside one that is; with V(force-shared) asking to be alone is refused; with V(ignore) everybody "
        "comes in.",
        spec="GFX-T1.7",
        default=None,
    )
    keymap: str | None = option(
        "Keymap such as en-us; that of C(dos_system) when not given.", spec="GFX-05", default=None
    )
    default_mode: Literal["any", "insecure", "secure"] = option(
        "Policy of SPICE's channels. V(secure) is TLS, which costs the host's processors for every picture, so it is said for each "
        "console (GFX-06).",
        spec="GFX-T1.10",
        default="any",
    )
    channels: dict[str, Literal["any", "insecure", "secure"]] | None = option(
        "Policy by the name of a channel (GFX-T1.11).", spec="GFX-T1.12", default=None
    )
    image_compression: Literal["auto_glz", "auto_lz", "quic", "glz", "lz", "off"] | None = option(
        "Image compression of SPICE.", spec="GFX-T1.13", default=None
    )
    jpeg_compression: Literal["auto", "never", "always"] | None = option(
        "JPEG over slow links.", spec="GFX-T1.14", default=None
    )
    zlib_compression: Literal["auto", "never", "always"] | None = option(
        "zlib over slow links.", spec="GFX-T1.15", default=None
    )
    playback_compression: bool | None = option("Compression of sound.", spec="GFX-T1.16", default=None)
    streaming: Literal["filter", "all", "off"] | None = option("Streaming of video.", spec="GFX-T1.17", default=None)
    file_transfer: bool | None = option("Whether files may be sent to the guest.", spec="GFX-T1.18", default=None)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_keymap("keymap", self.keymap)
        for name in ("password_valid_to", "keep_connections"):
            if getattr(self, name) and self.password is None:
                yield name, "needs a password"
        spice_only = ("tls_port", "channels", "image_compression", "jpeg_compression", "zlib_compression", "streaming",
                      "playback_compression", "file_transfer")  # fmt: skip
        if self.type == "vnc":
            for name in spice_only:
                if getattr(self, name) is not None:
                    yield name, "is for type: spice (GFX-T1)"
            if self.default_mode != "any":
                yield "default_mode", "is for type: spice (GFX-T1.10)"
        else:
            if self.share_policy is not None:
                yield "share_policy", "is for type: vnc (GFX-T1.7)"
            secure = self.default_mode == "secure" or "secure" in (self.channels or {}).values()
            if secure and self.tls_port is None and self.port is not None:
                yield "tls_port", "is required where a channel is secure (GFX-04)"

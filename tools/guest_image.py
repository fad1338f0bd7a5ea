#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the quickstart guest: one small disk image that boots by BIOS from Debian's kernel and busybox.

The system itself is the handful of scripts in `tools/guest/`; this file fetches two Debian packages, packs an
initramfs and writes a FAT disk that syslinux boots. Nothing is mounted and no root is needed. Running the guest is
left to libvirt, or to whoever takes the kernel and the initramfs from `--kernel-out` and boots them directly.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
SCRIPTS = TOOLS / "guest"
DEFAULT_CACHE = TOOLS.parent / ".cache" / "guest"
APT_LISTS = Path("/var/lib/apt/lists")

KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"

#: Kernel command line. Emulated guests gain nothing from mitigations or a shuffled kernel, and both cost boot time.
CMDLINE = "console=tty0 console=ttyS0,115200 quiet mitigations=off nokaslr panic=5"

#: Modules by the moment they are wanted. What the kernel has built in or does not have at all is left out.
MODULES = {
    "network": ("virtio_pci", "virtio_net"),
    "devices": (
        "qemu_fw_cfg", "button", "evdev", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "isofs", "vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "nls_utf8", "ata_piix", "ahci",
        "virtio_console", "virtio_rng", "virtio_balloon", "pvpanic_pci", "pvpanic_mmio",
    ),
}  # fmt: skip

#: Where each script goes in the guest.
PLACES = {
    "init": "init",
    "guest": "lib/guest",
    "lease": "bin/lease",
    "page": "www/cgi-bin/index.cgi",
    "hotplug": "bin/hotplug",
    "powerbutton": "etc/acpi/PWRF/00000080",
}
DIRECTORIES = ("proc", "sys", "dev", "run", "tmp", "mnt", "root", "modules", "bin", "lib", "etc", "www")
FILES = {
    "etc/passwd": b"root::0:0:root:/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n",
    "etc/acpid.conf": b"PWRF PWRF/00000080\n",
}

#: Room on the disk beyond kernel and initramfs, for FAT itself and the boot loader.
DISK_SLACK = 2 << 20
SYSLINUX_CFG = f"DEFAULT guest\nPROMPT 0\nLABEL guest\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND {CMDLINE}\n"


class BuildError(Exception):
    """The image cannot be built; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Packages:
    """The two Debian packages the guest is made of, with the versions apt would install."""

    kernel: str
    kernel_version: str
    busybox_version: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an image was made from; written beside it as JSON, it tells whether the image is still the right one."""

    builder: str
    packages: Packages
    #: Modification time of apt's lists in ns: as long as it stands still, apt need not be asked (which takes 0.7 s).
    apt_index: int

    def same_content(self, other: Fingerprint) -> bool:
        return (self.builder, self.packages) == (other.builder, other.packages)


def run(*command: str, cwd: Path | None = None) -> str:
    """Runs a command and returns its standard output; raises BuildError with the command's own last words."""
    # Fixed time stamps and serial numbers: the same packages give the same image, byte for byte.
    environment = {**os.environ, "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed: tools/apt.txt lists its package") from None
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"guest image: {what} in {time.monotonic() - start:.1f} s", flush=True)


# Fingerprint


def builder_hash() -> str:
    digest = hashlib.sha256()
    for path in (Path(__file__), *(SCRIPTS / name for name in sorted(PLACES))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def apt_index() -> int:
    return APT_LISTS.stat().st_mtime_ns if APT_LISTS.is_dir() else 0


def parse_packages(text: str) -> Packages:
    """Reads `apt-cache show` of both packages; raises BuildError when one of them is not in apt's lists."""
    stanzas: dict[str, dict[str, str]] = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        stanzas.setdefault(fields.get("Package", ""), fields)
    kernel = re.search(r"(linux-image-\S+) \(= (\S+)\)", stanzas.get(KERNEL_METAPACKAGE, {}).get("Depends", ""))
    if kernel is None or BUSYBOX_PACKAGE not in stanzas:
        raise BuildError(f"apt knows no {KERNEL_METAPACKAGE} or {BUSYBOX_PACKAGE}: run `apt-get update`")
    return Packages(kernel[1], kernel[2], stanzas[BUSYBOX_PACKAGE]["Version"])


def candidates() -> Packages:
    return parse_packages(run("apt-cache", "show", "--no-all-versions", KERNEL_METAPACKAGE, BUSYBOX_PACKAGE))


def read_fingerprint(path: Path) -> Fingerprint | None:
    try:
        content = json.loads(path.read_text())
        return Fingerprint(content["builder"], Packages(**content["packages"]), content["apt_index"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def wanted_fingerprint(cached: Fingerprint | None) -> Fingerprint:
    builder, index = builder_hash(), apt_index()
    if cached and cached.builder == builder and cached.apt_index == index:
        return cached
    try:
        return Fingerprint(builder, candidates(), index)
    except BuildError:
        # A machine that lost its package lists keeps what it has built.
        if cached and cached.builder == builder:
            return cached
        raise


# Packages


def unpacked(cache: Path, package: str, version: str) -> Path:
    """The unpacked content of a Debian package, downloaded when the cache does not have that version."""
    folder = cache / f"{package}_{version.replace(':', '%3a')}"
    if folder.is_dir():
        return folder
    with step(f"fetched and unpacked {package} {version}"), tempfile.TemporaryDirectory(dir=cache) as scratch:
        # apt's own download user cannot write into a private folder; we download as who we are.
        run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}", cwd=Path(scratch))
        (archive,) = Path(scratch).glob("*.deb")
        run("dpkg", "-x", str(archive), str(Path(scratch) / "content"))
        (Path(scratch) / "content").rename(folder)
    return folder


def normalized(module: str) -> str:
    return module.replace("-", "_")


def depends(module: Path) -> list[str]:
    """The names of the modules a module needs, as its own .modinfo section tells them."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [normalized(name) for name in found[1].decode().split(",") if name] if found else []


def load_order(wanted: Iterable[str], available: dict[str, Path]) -> list[str]:
    """The wanted modules and all they need, each after what it needs; what is not available is left out."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in available:
            return
        for needed in depends(available[name]):
            visit(needed)
        order.append(name)

    for name in wanted:
        visit(normalized(name))
    return order


# Initramfs


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the initramfs: `mode` with its type bits, as stat gives it."""

    name: str
    mode: int
    content: bytes = b""


def directory(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def cpio(entries: Iterable[Entry]) -> bytes:
    """The entries as a cpio archive in the `newc` format, which is what the kernel unpacks."""
    archive = bytearray()
    for inode, entry in enumerate((*entries, Entry("TRAILER!!!", 0)), start=1):
        name = entry.name.encode() + b"\0"
        numbers = (inode, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        archive += b"\0" * (-len(archive) % 4) + entry.content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def module_entries(kernel: Path, moments: Mapping[str, Iterable[str]] = MODULES) -> Iterator[Entry]:
    available = {normalized(path.stem): path for path in sorted(kernel.glob("lib/modules/*/kernel/**/*.ko"))}
    loaded: list[str] = []
    for moment, wanted in moments.items():
        order = [name for name in load_order(wanted, available) if name not in loaded]
        loaded += order
        yield Entry(f"modules/{moment}.order", stat.S_IFREG | 0o644, "".join(f"{name}.ko\n" for name in order).encode())
        for name in order:
            yield Entry(f"modules/{name}.ko", stat.S_IFREG | 0o644, available[name].read_bytes())


def busybox_entries(busybox: Path) -> Iterator[Entry]:
    program = busybox / "bin" / "busybox"
    yield Entry("bin/busybox", stat.S_IFREG | 0o755, program.read_bytes())
    for applet in run(str(program), "--list").split():
        if applet != "busybox":
            yield Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")


def script_entries() -> Iterator[Entry]:
    for script, place in PLACES.items():
        yield Entry(place, stat.S_IFREG | 0o755, (SCRIPTS / script).read_bytes())
    for name, content in FILES.items():
        yield Entry(name, stat.S_IFREG | 0o644, content)


def with_parents(entries: Sequence[Entry]) -> Iterator[Entry]:
    parents = {str(parent) for entry in entries for parent in Path(entry.name).parents} - {"."}
    yield from (directory(name) for name in sorted(parents | set(DIRECTORIES)))
    yield from entries


def initramfs(kernel: Path, busybox: Path) -> bytes:
    # Not compressed: a BIOS reads three more megabytes faster than an emulated CPU unpacks them.
    return cpio(with_parents([*module_entries(kernel), *busybox_entries(busybox), *script_entries()]))


# Disk


def write_disk(kernel: Path, initrd: Path, image: Path, scratch: Path) -> None:
    """Writes a qcow2 whose whole disk is one FAT file system with kernel, initramfs and syslinux in its boot sector."""
    raw, config = scratch / "disk.raw", scratch / "syslinux.cfg"
    config.write_text(SYSLINUX_CFG)
    size = kernel.stat().st_size + initrd.stat().st_size + DISK_SLACK
    # 4 MiB steps: a cylinder of 16 heads and 63 sectors is not a whole number of them, so the geometry is given by us.
    megabytes = -(-size // (4 << 20)) * 4
    with raw.open("wb") as disk:
        disk.truncate(megabytes << 20)
    run(
        "mformat",
        "-i",
        str(raw),
        "-T",
        str(megabytes * 2048),
        "-h",
        "64",
        "-s",
        "32",
        "-N",
        "d05c0de1",
        "-v",
        "DOSVM",
        "::",
    )
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")):
        run("mcopy", "-i", str(raw), str(source), f"::{name}")
    run("syslinux", "--install", str(raw))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))


def build(cache: Path, fingerprint: Fingerprint) -> None:
    """Builds vmlinuz, initrd and busybox.qcow2 into the cache; the fingerprint comes last, so half a build is none."""
    packages = fingerprint.packages
    kernel = unpacked(cache, packages.kernel, packages.kernel_version)
    busybox = unpacked(cache, BUSYBOX_PACKAGE, packages.busybox_version)
    (cache / "fingerprint.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        scratch = Path(name)
        with step("packed the initramfs"):
            (vmlinuz,) = kernel.glob("boot/vmlinuz-*")
            shutil.copyfile(vmlinuz, scratch / "vmlinuz")
            (scratch / "initrd").write_bytes(initramfs(kernel, busybox))
        with step("wrote the disk"):
            write_disk(scratch / "vmlinuz", scratch / "initrd", scratch / "busybox.qcow2", scratch)
        for product in ("vmlinuz", "initrd", "busybox.qcow2"):
            # A rename, never a rewrite in place: a running guest keeps the file that it has open.
            (scratch / product).replace(cache / product)
    (cache / "cmdline").write_text(CMDLINE + "\n")
    write_fingerprint(cache, fingerprint)


def write_fingerprint(cache: Path, fingerprint: Fingerprint) -> None:
    (cache / "fingerprint.json").write_text(json.dumps(asdict(fingerprint), indent=2) + "\n")


def ensure(cache: Path) -> Path:
    """The image, built if the cache has none for today's scripts and packages; several callers may ask at once."""
    cache.mkdir(parents=True, exist_ok=True)
    image = cache / "busybox.qcow2"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cached = read_fingerprint(cache / "fingerprint.json") if image.exists() else None
        wanted = wanted_fingerprint(cached)
        if cached is None or not wanted.same_content(cached):
            with step(f"built {image.name}"):
                build(cache, wanted)
        else:
            if wanted != cached:
                write_fingerprint(cache, wanted)
            print(f"guest image: {image.name} is as its sources want it")
    return image


def copy_kernel(cache: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vmlinuz", "initrd", "cmdline"):
        shutil.copyfile(cache / name, folder / name)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build the quickstart guest's disk image from Debian packages.")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="where packages and the image are kept")
    parser.add_argument("--output", type=Path, help="also copy the image to this file, if it differs")
    parser.add_argument("--kernel-out", type=Path, metavar="DIR", help="drop vmlinuz, initrd and cmdline there")
    options = parser.parse_args(arguments)
    try:
        image = ensure(options.cache.resolve())
    except BuildError as error:
        print(f"guest image: {error}", file=sys.stderr)
        return 1
    if options.kernel_out:
        copy_kernel(image.parent, options.kernel_out)
    if options.output and not (options.output.exists() and options.output.read_bytes() == image.read_bytes()):
        shutil.copyfile(image, options.output)
    print(image)
    return 0


if __name__ == "__main__":
    sys.exit(main())

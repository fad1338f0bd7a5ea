# SPDX-License-Identifier: GPL-3.0-or-later
"""Small sites whose files have several names, on several hosts: what hypothesis draws, and an oracle that says which file a path is.

The oracle shares no code with the resolver (`site/writes.py`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

HOSTS = ("h1", "h2", "h3")
FOLDERS = ("/a", "/a/b", "/c")
FILES = ("x", "vm-0-vda")
Raw = dict[str, Any]
Node = tuple[str, str]  # a host, a server or the cluster, and a path


class Disk(NamedTuple):
    """What a VM would do to the file at a path of the host that it is on."""

    path: str
    hosts: frozenset[str]
    use: str  # write, or layer: it reads below a layer


class World(NamedTuple):
    """A site, and what the oracle must know of it."""

    variables: Raw
    shared: list[tuple[str, frozenset[str]]]  # paths, and all below them, that hosts share
    mounts: list[tuple[str, frozenset[str], str]]  # a directory of hosts that is one of a server
    disks: dict[str, list[Disk]]
    on: dict[str, bool]


def some_hosts(draw: Any) -> frozenset[str]:
    return frozenset(draw(st.sets(st.sampled_from(HOSTS), min_size=1)))


def spelled(draw: Any, path: str) -> str:
    """The path, as a person may write it."""
    return path.replace("/", draw(st.sampled_from(["/", "//", "/./"]))) + draw(st.sampled_from(["", "/"]))


@st.composite
def worlds(draw: Any) -> World:
    pools: Raw = {}
    shared, mounts, where = [], [], {}
    for number, folder in enumerate(draw(st.lists(st.sampled_from(FOLDERS), unique=True, min_size=1))):
        hosts, kind = some_hosts(draw), draw(st.sampled_from(["own", "shared", "netfs"]))
        pools[f"pool-{number}"] = {"path": spelled(draw, folder), "hosts": sorted(hosts)}
        where[f"pool-{number}"] = folder, hosts
        if kind == "netfs":
            source = {"server": "nas", "export": draw(st.sampled_from(["/one", "/one/b", "/two"]))}
            pools[f"pool-{number}"] |= {"type": "netfs", "source": source}
            mounts.append((folder, hosts, source["export"]))
        elif kind == "shared":
            pools[f"pool-{number}"]["shared"] = True
            shared.append((folder, hosts))
    images: Raw = {}
    for number in range(draw(st.integers(1, 3))):
        path = f"{draw(st.sampled_from(FOLDERS))}/{draw(st.sampled_from(FILES))}"
        hosts, is_shared, read_only = some_hosts(draw), draw(st.booleans()), draw(st.booleans())
        image = {"file": spelled(draw, path), "format": "qcow2", "hosts": sorted(hosts)}
        images[f"image-{number}"] = {**image, "shared": is_shared, "read_only": read_only}
        where[f"image-{number}"] = path, hosts
        shared += [(path, hosts)] if is_shared else []
    volumes = {name: {"pool": draw(st.sampled_from(sorted(pools))), "capacity": "1 MiB"} for name in FILES[:1]}
    instances: Raw = {}
    disks: dict[str, list[Disk]] = {}
    on: dict[str, bool] = {}
    for number in range(draw(st.integers(2, 3))):
        vm, hosts = f"vm-{number}", some_hosts(draw)
        on[vm] = draw(st.sampled_from([True, True, False]))
        targets = [f"vd{letter}" for letter in "ab"[: draw(st.integers(1, 2))]]
        drawn = [draw(_disk(f"{vm}-{target}", pools, images, volumes, where)) for target in targets]
        left = hosts.intersection(*(needed for _, _, needed in drawn))
        disks[vm] = [part._replace(hosts=left) for _, parts, _ in drawn for part in parts]
        instances[vm] = {
            "project": "p",
            "memory": "16 MiB",
            "disks": [{**raw, "target": target} for (raw, _, _), target in zip(drawn, targets, strict=True)],
            "hosts": sorted(hosts),
            "vms": {vm: {"power": "on" if on[vm] else "off"}},
        }
    site = {
        "dos_projects": {"p": {}},
        "dos_pools": pools,
        "dos_images": images,
        "dos_volumes": volumes,
        "dos_instances": instances,
    }
    return World(site, shared, mounts, disks, on)


@st.composite
def _disk(
    draw: Any, own: str, pools: Raw, images: Raw, volumes: Raw, where: Raw
) -> tuple[Raw, list[Disk], frozenset[str]]:
    """A disk as it is declared, what it does, and the hosts that have what it needs."""
    kind, read_only = draw(st.sampled_from(["own", "image", "layered", "volume"])), draw(st.sampled_from([0, 0, 0, 1]))
    raw: Raw = {"read_only": bool(read_only)}
    image, pool = draw(st.sampled_from(sorted(images))), draw(st.sampled_from(sorted(pools)))
    if kind == "volume":
        raw, pool = {**raw, "volume": "x"}, volumes["x"]["pool"]
        parts = [Disk(f"{where[pool][0]}/x", frozenset(), "write")]
    elif kind == "image":
        use = "layer" if images[image]["read_only"] else "write"
        return {**raw, "image": image}, [] if read_only else [Disk(*where[image], use)], where[image][1]
    else:
        raw = {**raw, "pool": pool, "capacity": "1 MiB"}
        parts = [Disk(f"{where[pool][0]}/{own}", frozenset(), "write")]
    needed = where[pool][1]
    if kind == "layered":
        raw, needed = {**raw, "image": image}, needed & where[image][1]
        parts.append(Disk(*where[image], "layer"))
    return raw, [] if read_only else parts, needed


def place(world: World, host: str, path: str) -> Node:
    """Where a path leads: to the server of the innermost directory that is mounted above it."""
    above = [mount for mount in world.mounts if host in mount[1] and path.startswith(f"{mount[0]}/")]
    if not above:
        return host, path
    folder, _, export = max(above, key=lambda mount: len(mount[0]))
    return "nas", export + path.removeprefix(folder)


def file_at(world: World, host: str, path: str) -> Node:
    """The file that a path of a host is: what declarations call shared is of one cluster."""
    found = place(world, host, path)
    sharing = {other for top, hosts in world.shared for other in hosts if f"{path}/".startswith(f"{top}/")}
    return ("cluster", path) if found == (host, path) and host in sharing else found

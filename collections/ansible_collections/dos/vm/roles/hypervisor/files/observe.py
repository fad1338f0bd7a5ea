# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is like, as JSON, beside what it should be like, which comes as the first argument. Reads; changes nothing.

One program instead of a dozen tasks: a task costs a second on each host, all of this a tenth of one. It runs before any
package is installed, so it needs Python and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIBVIRT = Path("/etc/libvirt")
#: The files of settings; a setting that names none is QEMU's.
QEMU_CONF, SANLOCK_CONF = LIBVIRT / "qemu.conf", LIBVIRT / "qemu-sanlock.conf"
SYSTEM = Path("/etc/systemd/system")
SSH = Path("/etc/ssh")
PROXY = re.compile(r"\b((?:https?|ftp|all)_proxy)=(?=[^\s\"'])", re.IGNORECASE)
SOCKETS = (".socket", "-ro.socket", "-admin.socket")
#: Who may hold libvirt's ports; PID 1 does so for a daemon that has not been asked for anything yet.
OURS = ("libvirtd", "virtproxyd", "systemd")
#: Disks that are parts, layers or shadows of others.
NO_DISK = re.compile(r"loop|ram|zram|dm-|md|sr|fd|nbd")
NO_CARD = re.compile(r"lo$|vnet|veth|virbr|docker|tap|tun|ovs-|dv[0-9a-f]{11}")


def output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def text(path: Path) -> str:
    """What is in the file; of one that is not there or cannot be read, nothing."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


# Packages


def missing(database: str, packages: list[str]) -> list[str]:
    if database == "dpkg":
        rows = output("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *packages).splitlines()
        held = {row.split()[1] for row in rows if row.startswith("installed ")}
        return [name for name in packages if name not in held]
    return [
        name for name in packages if not output("rpm", "--query", "--whatprovides", "--queryformat=%{NAME}\n", name)
    ]


# Units


def units(names: list[str]) -> dict[str, dict[str, str]]:
    """systemd's properties of each, by the name that was asked for."""
    wanted = "LoadState,ActiveState,UnitFileState,MainPID,Environment,EnvironmentFiles,ExecMainStartTimestampMonotonic"
    blocks = output("systemctl", "show", f"--property={wanted}", "--", *names).strip("\n").split("\n\n")
    rows = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return dict(zip(names, rows, strict=False))


def is_enabled(unit: dict[str, str]) -> bool:
    return unit.get("UnitFileState") in ("enabled", "static", "indirect", "alias", "generated")


def is_active(unit: dict[str, str]) -> bool:
    return unit.get("ActiveState") in ("active", "activating", "reloading")


def observe_units(question: dict[str, Any]) -> dict[str, Any]:
    services = [f"{name}.service" for name in question["services"]]
    of_service = {f"{name}.service": [name + end for end in SOCKETS] for name in question["services"]}
    sockets = [*question["keepers"], *(socket for names in of_service.values() for socket in names)]
    # Sockets first: while one listens, the next caller starts the service again.
    other = [name + end for name in question["services_of_other_kind"] for end in (*SOCKETS, ".service")]
    found = units([*sockets, *services, *other])

    def is_there(name: str) -> bool:
        return found.get(name, {}).get("LoadState") not in (None, "not-found")

    return {
        "units_absent": [name for name in (*sockets, *services) if not is_there(name)],
        "services_disabled": [name for name in services if not is_enabled(found.get(name, {}))],
        "sockets_idle": [
            name for name in sockets if not (is_enabled(found.get(name, {})) and is_active(found.get(name, {})))
        ],
        # systemd refuses to listen for a service that already runs.
        "services_in_the_way": [
            name
            for name, own in of_service.items()
            if is_active(found.get(name, {})) and not all(is_active(found.get(socket, {})) for socket in own)
        ],
        "units_unwanted": [
            name
            for name in other
            if is_there(name) and (is_active(found[name]) or found[name].get("UnitFileState") == "enabled")
        ],
        **observe_environment(question, {name: found.get(name, {}) for name in services}),
    }


def observe_environment(question: dict[str, Any], services: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Proxies that daemons see or would see, drop-ins that are not as they should be, and daemons to be restarted."""
    everywhere = output("systemctl", "show-environment")
    answer: dict[str, Any] = {"proxies": {}, "dropins_missing": [], "dropins_unwanted": [], "services_outdated": []}
    for name, unit in services.items():
        dropin = SYSTEM / f"{name}.d" / question["dropin"]
        wanted = question["dropin_text"].strip()
        if text(dropin) != wanted:
            answer["dropins_missing" if wanted else "dropins_unwanted"].append(name)
        files = re.findall(r"(/\S+) \(ignore_errors", unit.get("EnvironmentFiles", ""))
        told = "\n".join((everywhere, unit.get("Environment", ""), *map(assignments, files)))
        running = text(Path("/proc", unit.get("MainPID", "0"), "environ")).replace("\0", "\n")
        seen = set(PROXY.findall(running))
        if proxies := sorted(seen if wanted and text(dropin) else seen | set(PROXY.findall(told))):
            answer["proxies"][name] = proxies
        if running and ((seen and wanted) or is_older(unit, (QEMU_CONF, SANLOCK_CONF, dropin))):
            answer["services_outdated"].append(name)
    return answer


def assignments(path: str) -> str:
    return "\n".join(line for line in text(Path(path)).splitlines() if not line.lstrip().startswith("#"))


def is_older(unit: dict[str, str], files: tuple[Path, ...]) -> bool:
    """Whether the daemon started before one of its files was written: a restart was due, and somebody was interrupted."""
    started = time.time() - time.monotonic() + int(unit.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    return any(path.stat().st_mtime > started for path in files if path.exists())


# Settings


def observe_settings(question: dict[str, Any]) -> list[dict[str, Any]]:
    """Settings of libvirt's files that have another value than they should; `line` is empty where none is needed."""
    wrong = []
    for setting in question["settings"]:
        wrong += difference(LIBVIRT / setting.get("file", QEMU_CONF.name), setting, " = ")
    return wrong


def observe_guests(question: dict[str, Any]) -> list[dict[str, Any]]:
    """The same of libvirt-guests, whose file a shell reads."""
    return [found for setting in question["settings"] for found in difference(Path(question["file"]), setting, "=")]


def difference(path: Path, setting: dict[str, Any], equals: str) -> list[dict[str, Any]]:
    """What is to be done about a setting, or nothing."""
    lines = re.findall(rf"^[ \t]*{setting['name']}[ \t]*=[ \t]*(.*?)[ \t]*$", text(path), re.MULTILINE)
    values = [line.strip("\"'") for line in lines] or [str(setting["default"])]
    wanted = str(setting["value"])
    if values == [wanted]:
        return []
    value = setting["value"] if isinstance(setting["value"], int) else json.dumps(wanted)
    line = "" if wanted == str(setting["default"]) else f"{setting['name']}{equals}{value}"
    gone = bool(lines) and (not line or len(lines) > 1)
    return [{"name": setting["name"], "path": str(path), "found": values, "line": line, "gone": gone}]


def observe_sanlock(question: dict[str, str]) -> dict[str, bool]:
    """What is asked with a lock manager of that name: the drop-in, the lockspace, and whether it holds leases now."""
    if not question:
        return {"outdated": False, "lockspace_missing": False, "holds": False, "watchdog": False}
    return {
        "outdated": text(Path(question["dropin"])) != question["text"].strip(),
        "lockspace_missing": not Path(question["lockspace"]).exists(),
        "holds": bool(re.search(r"^s ", output("sanlock", "client", "status"), re.MULTILINE)),
        "watchdog": Path("/dev/watchdog").exists(),
    }


def identity(question: dict[str, Any]) -> str:
    """QEMU's user and group with their numbers, as they will be."""
    value = {setting["name"]: str(setting["value"]) for setting in question["settings"]}
    user, group = value["user"], value["group"]
    numbers = ["?", "?"]
    with contextlib.suppress(KeyError):
        numbers[0] = str(pwd.getpwnam(user).pw_uid)
    with contextlib.suppress(KeyError):
        numbers[1] = str(grp.getgrnam(group).gr_gid)
    return f"{user}:{group} ({':'.join(numbers)})"


def is_as_declared(folder: dict[str, Any]) -> bool:
    try:
        held = os.lstat(folder["path"])
        owner, group = pwd.getpwnam(folder["owner"]).pw_uid, grp.getgrnam(folder["group"]).gr_gid
    except (FileNotFoundError, KeyError):
        return False  # neither folder nor, before packages, perhaps its user
    mode = stat.S_IMODE(held.st_mode) == int(folder["mode"], 8)
    return stat.S_ISDIR(held.st_mode) and mode and (held.st_uid, held.st_gid) == (owner, group)


# Who is who: ssh between hosts


def host_keys() -> list[str]:
    """The public keys by which this host is known, without their comments."""
    return sorted(" ".join(text(path).split()[:2]) for path in SSH.glob("ssh_host_*_key.pub") if text(path))


def public_half(key: str) -> str:
    """Of root's key, which may be there without the file beside it."""
    held = text(Path(f"{key}.pub")) or output("ssh-keygen", "-y", "-P", "", "-f", key)
    return " ".join(held.split()[:2])


def block(path: Path, marker: str) -> list[str]:
    """The lines of a file that are ours, between the two that say so."""
    lines = text(path).splitlines()
    begin, end = marker.replace("{mark}", "BEGIN"), marker.replace("{mark}", "END")
    return lines[lines.index(begin) + 1 : lines.index(end)] if begin in lines and end in lines else []


# The machine


def collisions(ports: list[int]) -> list[dict[str, Any]]:
    """Ports that somebody else listens on, with who that is."""
    found = {}
    for row in output("ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes").splitlines():
        words = row.split()
        port = int(words[3].rpartition(":")[2])
        owners = re.findall(r'\("([^"]+)",pid=(\d+)', row)
        if port in ports and not any(name in OURS for name, _ in owners):
            found[port] = ", ".join(f"{name} (pid {pid})" for name, pid in owners) or "a process that cannot be seen"
    return [{"port": port, "owner": found[port]} for port in sorted(found)]


def kvm() -> dict[str, Any]:
    """Whether guests run on the processor itself, and why not."""
    flags = set(re.findall(r"\b(?:vmx|svm)\b", text(Path("/proc/cpuinfo"))))
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.ENOENT:
            why = f"/dev/kvm cannot be opened: {error.strerror}"
        elif flags:
            why = f"the processor offers {', '.join(sorted(flags))} and there is no /dev/kvm: is the module kvm loaded?"
        else:
            why = "the processor offers no vmx or svm: switched off in the firmware, or this is a virtual machine"
        return {"used": False, "why": why}
    return {"used": True, "why": "/dev/kvm can be opened"}


def megahertz() -> int:
    """The highest clock of the first processor; 0 where nothing tells."""
    khz = text(Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"))
    told = re.search(r"^cpu MHz\s*: (\d+)", text(Path("/proc/cpuinfo")), re.MULTILINE)
    return int(khz) // 1000 if khz else int(told[1]) if told else 0


def cards() -> list[str]:
    """Network interfaces that lead somewhere: no bridges, bonds, VLANs, nor what guests are plugged into."""
    return sorted(
        path.name
        for path in Path("/sys/class/net").iterdir()
        if not NO_CARD.match(path.name)
        and text(path / "type") == "1"
        and not any((path / name).exists() for name in ("bridge", "bonding", "tun_flags"))
        and "DEVTYPE=vlan" not in text(path / "uevent")
    )


def disk_gb() -> int:
    sizes = [text(path / "size") for path in Path("/sys/block").iterdir() if not NO_DISK.match(path.name)]
    return sum(int(size or 0) for size in sizes) * 512 // 10**9


def main() -> None:
    question = json.loads(sys.argv[1])
    folders = [{"owner": "root", "group": "root", "mode": "0711"} | folder for folder in question["directories"]]
    answer = {
        "missing": missing(question["database"], question["packages"]),
        **observe_units(question),
        "settings_wrong": observe_settings(question),
        "guests_settings_wrong": observe_guests(question["guests"]),
        "sanlock": observe_sanlock(question["sanlock"]),
        "identity": identity(question),
        "host_keys": host_keys(),
        "known_hosts": block(SSH / "ssh_known_hosts", question["marker"]),
        "root_key": public_half(question["root_key"]),
        "authorized_keys": block(Path(question["root_key"]).with_name("authorized_keys"), question["marker"]),
        "directories_wrong": [folder for folder in folders if not is_as_declared(folder)],
        "session_proxies": sorted(name for name in os.environ if PROXY.match(f"{name}={os.environ[name]}")),
        "collisions": collisions(question["ports"]),
        "guests": sorted(path.stem for path in Path("/run/libvirt/qemu").glob("*.xml")),
        "kvm": kvm(),
        "mhz": megahertz(),
        "cards": cards(),
        "disk_gb": disk_gb(),
        "security_off": bool(re.search(r"^\s*security_driver\s*=\s*\[?\s*[\"']none", text(QEMU_CONF), re.MULTILINE)),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

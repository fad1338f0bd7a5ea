# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab itself: hosts that are hosts, faults that are seen from outside, and nothing left of either."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from namespaces import cgroups, faults, inventory, locks, net
from namespaces.group import name_of_mine
from namespaces.host import Host, LabError
from namespaces.lab import FOLDERS, TREE, Lab
from namespaces.process import PATIENCE

PROGRAM = Path(__file__).parent / "lab.py"


def wait_for(what: str, happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.1)


def answers(lab: Lab, host: Host) -> bool:
    """Whether it says its name over ssh, from where Ansible would ask."""
    script = f"ConnectTimeout=2 {host.name} hostname"
    done = lab.ctl("ssh", "-F", str(lab.ssh_config), "-o", *script.split())
    return done.stdout.strip() == host.name


def is_alive(lab: Lab, host: Host) -> bool:
    """Whether its kernel side answers: also that of a host whose every process stands still."""
    return lab.ctl("ping", "-c1", "-W1", host.address).returncode == 0


def write_to_storage(host: Host, seconds: int = 2) -> bool:
    done = host.run("timeout", "--signal=KILL", str(seconds), "touch", f"/srv/shared/of-{host.name}", check=False)
    return done.returncode == 0


def left_of(lab: Lab) -> list[str]:
    """Everything on the machine that bears a lab's name."""
    found = [str(path) for path in net.NETNS.glob(f"dos-lab-{lab.name}-*")]
    found += [str(path) for hierarchy in cgroups.hierarchies() if (path := hierarchy.group(lab.name)).exists()]
    found += [str(path) for path in FOLDERS.glob(f"{lab.name}*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"/{lab.name}/" in line]
    groups = [path for path in Path("/proc").glob("[0-9]*/cgroup") if int(path.parent.name) != os.getpid()]
    return found + [
        str(path) for path in groups if f"{cgroups.TOP}/{lab.name}/" in _text(path) and not _is_zombie(path)
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # ended meanwhile


def _is_zombie(group: Path) -> bool:
    """Ended, and only not yet asked for its status by the machine's own PID 1, in whose time that is."""
    return _text(group.parent / "stat").rpartition(")")[2].split()[:1] in ([], ["Z"])


# Hosts


def test_a_host_has_an_identity_of_its_own(hosts: dict[str, Host]) -> None:
    told = [hosts[name].run("sh", "-c", "hostname; cat /etc/machine-id").stdout for name in hosts]
    assert len(set(told)) == 3
    assert [text.split()[0] for text in told] == ["h1", "h2", "h3"]


def test_systemd_has_started_everything(hosts: dict[str, Host]) -> None:
    for host in hosts.values():
        assert host.run("systemctl", "is-system-running").stdout.strip() == "running"
        assert host.run("cat", "/proc/1/comm").stdout.strip() == "systemd"


def test_each_has_libvirt_with_a_state_of_its_own(lab: Lab, hosts: dict[str, Host]) -> None:
    hosts["h1"].run("virsh", "net-define", "/usr/share/libvirt/networks/default.xml")
    try:
        held = {name: lab.ssh(name, "virsh", "net-list", "--all", "--name").stdout.split() for name in hosts}
        assert held == {"h1": ["default"], "h2": [], "h3": []}
        uuids = {host.run("virsh", "capabilities").stdout.split("<uuid>")[1][:36] for host in hosts.values()}
        assert len(uuids) == 3
    finally:
        hosts["h1"].run("virsh", "net-undefine", "default")
    for unit in ("virtlogd.socket", "virtlockd.socket", "libvirtd.socket"):
        hosts["h2"].run("systemctl", "is-active", unit)


def test_the_shared_directory_is_one_and_the_private_ones_are_many(hosts: dict[str, Host]) -> None:
    hosts["h1"].run("touch", "/srv/shared/seen", "/srv/private/hidden")
    assert hosts["h2"].run("test", "-e", "/srv/shared/seen").returncode == 0
    assert hosts["h2"].run("test", "-e", "/srv/private/hidden", check=False).returncode == 1


def test_a_lock_on_shared_storage_holds_between_hosts(hosts: dict[str, Host]) -> None:
    script = (
        "import fcntl, struct, sys; held = open('/srv/shared/locked', 'w');"
        "want = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 1, 0);"
        "fcntl.fcntl(held, 37, want);"  # F_OFD_SETLK: what QEMU takes on an image
        "print('held', flush=True); sys.stdin.read()"
    )
    command = ["/usr/bin/python3", "-c", script]
    with subprocess.Popen(
        hosts["h1"].command(*command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        refused = hosts["h2"].run(*command, check=False)
        first.communicate("")
    assert "BlockingIOError" in refused.stderr
    assert hosts["h2"].run(*command).stdout == "held\n"


def test_a_host_sees_neither_the_tree_nor_the_machines_secrets(hosts: dict[str, Host]) -> None:
    def seen(folder: Path) -> list[str]:
        return hosts["h1"].run("ls", "-A", str(folder), check=False).stdout.split()

    assert not seen(TREE)
    for folder in map(Path, ("/root", "/home", "/var/lib/dos-vm", "/var/lib/swtpm-localca")):
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as secret:
            assert Path(secret.name).name not in seen(folder)


@pytest.mark.parametrize(
    "folder", ["/etc/dos-vm", "/etc/systemd/system", "/etc/libvirt/hooks", "/var/lib/dos-vm", "/var/lib/libvirt/dos-vm"]
)
def test_what_goes_on_the_machine_takes_nothing_from_a_host(hosts: dict[str, Host], folder: str) -> None:
    """A folder that goes on the machine is an empty one on a host that sees both, whatever it holds there itself.

    These are those that the product writes to, as it does on the machine in other tests at the same time.
    """
    machine, own = Path(folder, "lab-test"), f"{folder}/lab-test"
    machine.mkdir(parents=True)
    try:
        hosts["h1"].run("sh", "-c", f"mkdir -p {own}; touch {own}/kept; ls {own}")
    finally:
        machine.rmdir()
    assert hosts["h1"].run("sh", "-c", f"ls {own}; rm -r {own}").stdout == "kept\n"


def test_hosts_reach_each_other_and_nothing_else(hosts: dict[str, Host]) -> None:
    hosts["h1"].run("ping", "-c1", "-W2", "h3")
    assert hosts["h1"].run("ip", "route", "get", "192.0.2.1", check=False).returncode


def test_an_unknown_host_key_is_refused(lab: Lab, hosts: dict[str, Host]) -> None:
    command = ["ssh", "-F", str(lab.ssh_config), "-o", "UserKnownHostsFile=/dev/null", "h1", "true"]
    assert "Host key verification failed" in lab.ctl(*command).stderr


def test_the_committed_inventory_is_that_of_the_default_lab() -> None:
    committed = TREE / "inventories" / "lab" / "hosts.yml"
    assert committed.read_text() == inventory.render(Lab(), 3)
    assert list(yaml.safe_load(committed.read_text())["all"]["children"]["dos_hosts"]["hosts"]) == ["h1", "h2", "h3"]


# Faults, as everybody else sees them


def test_a_crashed_host_is_gone_and_comes_back_with_its_disk(lab: Lab, hosts: dict[str, Host]) -> None:
    host = hosts["h2"]
    before = host.run("cat", "/proc/sys/kernel/random/boot_id", "/etc/machine-id").stdout.split()[1]
    host.run("sh", "-c", "echo kept > /srv/private/file; sync; ip link add br-lost type bridge")
    host.crash()
    assert faults.observed(host) == ["off"]
    assert not is_alive(lab, host)
    assert not cgroups.processes(host.group)
    with pytest.raises(LabError, match="h2 is off"):
        host.run("true")
    lab.boot("h2")
    assert answers(lab, host)
    assert host.run("cat", "/srv/private/file", "/etc/machine-id").stdout.split() == ["kept", before]
    assert host.run("ip", "link", "show", "br-lost", check=False).returncode


def test_a_cut_host_runs_on_and_cannot_be_reached(lab: Lab, hosts: dict[str, Host]) -> None:
    host = hosts["h2"]
    faults.cut(host)
    assert faults.observed(host) == ["mgmt cut"]
    assert not answers(lab, host)
    assert host.run("cat", "/sys/class/net/eth0/carrier").stdout.strip() == "0"
    assert host.run("cat", "/sys/class/net/eth1/carrier").stdout.strip() == "1"
    faults.join(host)
    wait_for("h2 answers again", lambda: answers(lab, host))


def test_a_frozen_host_looks_alive_and_answers_nothing(lab: Lab, hosts: dict[str, Host]) -> None:
    host = hosts["h2"]
    faults.freeze(host)
    assert faults.observed(host) == ["frozen"]
    assert is_alive(lab, host)
    assert not answers(lab, host)
    faults.thaw(host)
    wait_for("h2 answers again", lambda: answers(lab, host))
    assert faults.observed(host) == []


def test_a_frozen_host_can_crash(lab: Lab, hosts: dict[str, Host]) -> None:
    faults.freeze(hosts["h3"])
    hosts["h3"].crash()
    lab.boot("h3")
    assert answers(lab, hosts["h3"])


def test_a_slow_host_does_less_in_the_same_time(hosts: dict[str, Host]) -> None:
    def work() -> int:
        script = "import time; t = time.monotonic() + 1; n = 0\nwhile time.monotonic() < t: n += 1\nprint(n)"
        return int(hosts["h2"].run("/usr/bin/python3", "-c", script).stdout)

    full = work()
    faults.slow(hosts["h2"], 5)
    assert faults.observed(hosts["h2"]) == ["slow (5 %)"]
    assert work() < full / 3
    faults.fast(hosts["h2"])
    assert work() > full / 3


def test_cut_storage_hangs_for_one_host_and_loses_nothing(hosts: dict[str, Host]) -> None:
    faults.storage_cut(hosts["h2"])
    assert faults.observed(hosts["h2"]) == ["storage cut"]
    assert not write_to_storage(hosts["h2"])
    assert write_to_storage(hosts["h1"])
    faults.storage_join(hosts["h2"])
    assert write_to_storage(hosts["h2"], seconds=20)


# Labs come and go


def test_two_labs_stand_side_by_side_and_do_not_see_each_other(lab: Lab, other_lab: Lab) -> None:
    (host,) = other_lab.hosts()
    assert answers(other_lab, host)
    assert answers(lab, lab.host("h1"))
    # Names may come to the same /24: whose host answers there is then the lab's own.
    is_mine = host.address == lab.host("h1").address
    assert (lab.ctl("ping", "-c1", "-W1", host.address).returncode == 0) == is_mine
    assert lab.host("h1").run("cat", "/etc/machine-id").stdout != host.run("cat", "/etc/machine-id").stdout
    other_lab.down()
    assert left_of(other_lab) == []
    assert answers(lab, lab.host("h1"))


def test_up_again_boots_what_is_off_and_adds_what_is_missing(other_lab: Lab) -> None:
    pid = other_lab.host("h1").pid()
    other_lab.up(2)
    assert other_lab.host("h1").pid() == pid
    other_lab.host("h2").crash()
    other_lab.up(2)
    assert answers(other_lab, other_lab.host("h2"))


def _hears() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(number: signal.Signals) -> None:
    lab = Lab(f"u{os.getpid()}")
    command = [sys.executable, str(PROGRAM), "--name", lab.name, "up"]
    # Whoever runs the tests in the background may have turned SIGINT off, also for all that they start.
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=_hears) as running:
        wait_for("a host begins to boot", lambda: (net.NETNS / f"dos-lab-{lab.name}-h1").exists())
        running.send_signal(number)
        assert running.wait(PATIENCE)
    assert left_of(lab) == []


def test_a_host_that_cannot_boot_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(f"u{os.getpid()}")
    make = Lab._install

    def broken(self: Lab, host: Host, *what: dict[str, str]) -> None:
        make(self, host, *what)
        (host.upper / "sbin").symlink_to("/nowhere")
        (host.upper / "usr" / "lib").mkdir()
        os.setxattr(host.upper / "usr" / "lib", "trusted.overlay.opaque", b"y")

    monkeypatch.setattr(Lab, "_install", broken)
    with pytest.raises(LabError, match=r"h1 ended while it booted:\n(.*\n)*.*/lib/systemd/systemd"):
        lab.up(1)
    assert left_of(lab) == []


def test_a_folder_deleted_under_a_lab_does_not_keep_it_up(other_lab: Lab) -> None:
    # What just boots may write beneath it meanwhile, and rm finds a directory that is no longer empty.
    wait_for(
        "the folder goes", lambda: not subprocess.run(["rm", "-rf", str(other_lab.folder)], check=False).returncode
    )
    other_lab.down()
    assert left_of(other_lab) == []


def test_the_program_tells_how_hosts_are(lab: Lab, hosts: dict[str, Host]) -> None:
    def status() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAM), "--name", lab.name, "status"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert status().returncode == 0
    faults.cut(hosts["h1"], ("data",))
    assert status().returncode == 1
    assert "data cut" in status().stdout.splitlines()[0]


# Lock managers

DISK = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/srv/unlocked/one.raw'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>"""


@pytest.fixture
def sanlock_lab() -> Iterator[Lab]:
    """Two hosts that keep leases on the shared directory, and see its folder `disks` without QEMU's locks as /srv/unlocked."""
    if reasons := locks.missing("sanlock"):
        pytest.skip("; ".join(reasons))
    lab = Lab(name_of_mine("u"))
    try:
        lab.up(2, lock_manager="sanlock")
        (lab.shared / "disks").mkdir()
        for host in lab.hosts():
            host.run("sh", "-ec", "mkdir /srv/unlocked; bindfs /srv/shared/disks /srv/unlocked")
        yield lab
    finally:
        lab.down()


def test_with_sanlock_the_same_disk_is_refused_to_a_second_host(sanlock_lab: Lab) -> None:
    """VOL-10."""
    first, second = sanlock_lab.hosts()
    first.run("truncate", "--size=1M", "/srv/shared/disks/one.raw")
    for host in (first, second):
        host.run("sh", "-c", f"cat > /tmp/guest.xml <<'E'\n{DISK.format(name=f'of-{host.name}')}\nE")
    first.run("virsh", "create", "/tmp/guest.xml")
    refused = second.run("virsh", "create", "/tmp/guest.xml", check=False)
    assert "Failed to acquire lock: Lease is held by another host" in refused.stderr
    assert second.run("virsh", "list", "--name").stdout.split() == []
    assert first.run("virsh", "list", "--name").stdout.split() == ["of-h1"]
    first.run("virsh", "destroy", "of-h1")
    second.run("virsh", "create", "/tmp/guest.xml")


def test_each_host_has_a_number_of_its_own_in_the_lockspace(sanlock_lab: Lab) -> None:
    def numbers() -> list[list[str]]:
        held = [host.run("sh", "-c", "virsh list && sanlock client status").stdout for host in sanlock_lab.hosts()]
        return [re.findall(r"^s __LIBVIRT__DISKS__:(\d+):", text, re.MULTILINE) for text in held]

    # Its timeouts are a second, which a busy machine may overstep.
    wait_for("each host is in the lockspace", lambda: numbers() == [["1"], ["2"]])
    assert all(host.run("systemctl", "is-system-running").stdout == "running\n" for host in sanlock_lab.hosts())


def test_the_lock_manager_of_a_lab_is_settled_once(other_lab: Lab) -> None:
    with pytest.raises(LabError, match="have lock manager none; take it down to have sanlock"):
        other_lab.up(1, lock_manager="sanlock")
    other_lab.up(1, lock_manager="none")

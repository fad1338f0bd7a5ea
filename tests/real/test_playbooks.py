# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks, as an operator runs them, on this machine's libvirt: one site from nothing to nothing."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operators import PLAYBOOK, ROOT, Operator


def site(path: Path) -> dict[str, Any]:
    """A small cloud whose names nobody else uses; its machines have no system, so that they start at once."""
    return {
        "dos_site": "pb",
        "dos_projects": {"pb": {}},
        "dos_secrets": {"pb-console": {"value": "hunter22"}},
        "dos_pools": {"pb-pool": {"path": str(path / "pool"), "capacity": "1 GiB"}},
        "dos_volumes": {"pb-data": {"pool": "pb-pool", "capacity": "16 MiB", "project": "pb"}},
        "dos_subnets": {
            "pb-net": {
                "address": "192.168.233.0/24",
                "gateway": "192.168.233.1",
                "pool": [{"start": "192.168.233.100", "end": "192.168.233.199"}],
                "dhcp": {},
            }
        },
        "dos_networks": {"pb-net": {"type": "nat", "subnet": "pb-net", "project": "pb", "bridge": "pbbr0"}},
        "dos_filters": {
            "pb-web": {
                "references": [{"filter": "clean-traffic"}],
                "rules": [{"action": "accept", "direction": "in", "protocol": "tcp", "match": {"dstportstart": "80"}}],
            }
        },
        "dos_security_groups": {"pb-web": {"filter": "pb-web"}},
        "dos_instances": {
            "pb-web": {
                "project": "pb",
                "memory": "16 MiB",
                "disks": [{"pool": "pb-pool", "capacity": "16 MiB"}],
                "interfaces": [{"network": "pb-net", "security_group": "pb-web", "boot_rom": False}],
                "graphics": [{"type": "vnc", "password": "pb-console"}],
                "stop_timeout": 0,
                "vms": {"pb-web-1": {"ip": {"pb-net": "192.168.233.11"}}, "pb-web-2": {"power": "off"}},
            },
            "pb-db": {
                "project": "pb",
                "memory": "16 MiB",
                "disks": [{"volume": "pb-data"}],
                "vms": {"pb-db": {"power": "off"}},
            },
        },
    }


NAMES = ["volume pb-pool/pb-data", "volume pb-pool/pb-web-1-vda", "volume pb-pool/pb-web-2-vda"]
NOTHING = "Plan: 0 to create, 0 to change, 0 to remove; 0 interruptions"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    # The pool's directory must be reachable for QEMU's own user, which pytest's folders are not.
    folder = Path("/var/lib/dos-vm/test-playbooks")
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir(parents=True)
    held = Operator(folder, site(folder))
    yield held
    allow = json.dumps({"dos_allow": [{"data_loss": NAMES}]})
    held.play("destroy", "-e", "dos_confirm=pb", "-e", allow)
    listed = subprocess.run(
        "virsh list --all --name; virsh net-list --all --name; virsh pool-list --all --name; virsh nwfilter-list; virsh secret-list",
        shell=True, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    subprocess.run(["rm", "-rf", folder], check=True)
    assert "pb-" not in listed


def test_a_site_goes_from_nothing_to_as_declared_and_stays_there(operator: Operator) -> None:
    """VM-01, VM-11, DOMX-02: a machine, and before it the pool, the volume and the network that it stands on."""
    assert operator.plan() == "Plan: 10 to create, 0 to change, 0 to remove; 0 interruptions"
    assert operator.state("pb-web-1") == "none"
    operator.play("site")
    assert [operator.state(name) for name in ("pb-web-1", "pb-web-2", "pb-db")] == ["running", "shut off", "shut off"]
    again = operator.play("site")
    assert NOTHING in again
    assert "changed=0" in again


def test_check_mode_shows_the_plan_and_the_xml_and_changes_nothing(operator: Operator) -> None:
    operator.site["dos_instances"]["pb-db"]["memory"] = "24 MiB"
    shown = operator.play("site", "--check", "--diff")
    assert "memory: 16 MiB → 24 MiB" in shown
    assert "-  <memory>16384</memory>" in shown
    assert operator.plan() == "Plan: 0 to create, 1 to change, 0 to remove; 0 interruptions"
    operator.site["dos_instances"]["pb-db"]["memory"] = "16 MiB"
    assert operator.plan() == NOTHING


def test_a_plan_is_json_for_pipelines_and_has_an_exit_status(operator: Operator) -> None:
    file = operator.folder / "plan.json"
    operator.site["dos_instances"]["pb-db"]["vcpus"] = 2
    operator.play("plan", "-e", f"dos_plan_file={file}", "-e", "dos_plan_exit_code=true", succeeds=False)
    plans = {plan["name"]: plan for plan in json.loads(file.read_text())["hosts"]["here"]}
    assert plans["pb-db"]["verdict"] == "change"
    assert plans["pb-db"]["changes"][0] | {"op": ""} == {
        "path": "vcpus", "op": "", "before": "1", "after": "2", "disruption": "none",
    }  # fmt: skip
    operator.site["dos_instances"]["pb-db"]["vcpus"] = 1
    operator.play("plan", "-e", "dos_plan_exit_code=true")


def test_what_a_running_machine_cannot_take_waits_for_a_restart_that_is_allowed(operator: Operator) -> None:
    operator.site["dos_instances"]["pb-web"]["memory"] = "24 MiB"
    shown = operator.play("site")
    assert "memory: 16 MiB → 24 MiB  [pending restart]" in shown
    assert "withheld until allowed (dos_allow: [restart])" in shown
    waiting = operator.play("site")
    assert "changed=0" in waiting
    assert "[pending restart]" in waiting
    done = operator.play("site", "-e", '{"dos_allow": ["restart"]}')
    assert "1 interruption" in done
    assert operator.state("pb-web-1") == "running"
    assert operator.plan() == NOTHING


def test_a_reservation_moves_while_the_machine_runs(operator: Operator) -> None:
    operator.site["dos_instances"]["pb-web"]["vms"]["pb-web-1"]["ip"]["pb-net"] = "192.168.233.12"
    shown = operator.play("site")
    assert "192.168.233.11 → 192.168.233.12  [live]" in shown
    assert "0 interruptions" in shown
    assert operator.plan() == NOTHING


def test_an_address_that_was_given_is_nobody_elses(operator: Operator) -> None:
    told = subprocess.run(["virsh", "net-dumpxml", "pb-net"], capture_output=True, text=True, check=True).stdout
    given = re.search(r"name='pb-web-2' ip='(192\.168\.233\.1\d\d)'", told)
    assert given is not None, told
    vms = operator.site["dos_instances"]["pb-web"]["vms"]
    before = vms["pb-web-1"]["ip"]["pb-net"]
    vms["pb-web-1"]["ip"]["pb-net"] = given[1]
    refused = operator.play("plan", succeeds=False)
    assert f"{given[1]} is reserved for it since an earlier run, and dos_instances.pb-web.vms.pb-web-1" in refused
    vms["pb-web-1"]["ip"]["pb-net"] = before
    assert operator.plan() == NOTHING


def test_a_volume_grows_and_never_shrinks(operator: Operator) -> None:
    operator.site["dos_volumes"]["pb-data"]["capacity"] = "64 MiB"
    assert "capacity: 16 MiB → 64 MiB" in operator.play("site")
    operator.site["dos_volumes"]["pb-data"]["capacity"] = "16 MiB"
    shown = operator.play("site")
    assert "is larger than declared (16 MiB), and never shrinks (LIMIT-10): set capacity: 64 MiB" in shown
    assert NOTHING in shown
    operator.site["dos_volumes"]["pb-data"]["capacity"] = "64 MiB"
    assert operator.plan() == NOTHING


def test_what_left_the_files_is_reported_and_removed_only_with_prune(operator: Operator) -> None:
    removed = operator.site["dos_instances"].pop("pb-db")
    del operator.site["dos_volumes"]["pb-data"]
    shown = operator.play("site")
    assert "? domain pb-db: no longer declared; dos_prune: true removes it" in shown
    assert "? volume pb-pool/pb-data: not declared" in shown
    pruned = operator.play("site", "-e", "dos_prune=true")
    assert "- domain pb-db" in pruned
    assert operator.state("pb-db") == "none"
    assert (operator.folder / "pool" / "pb-data").exists(), "data went without its name"
    operator.site["dos_instances"]["pb-db"] = removed
    operator.site["dos_volumes"]["pb-data"] = {"pool": "pb-pool", "capacity": "64 MiB", "project": "pb"}
    operator.play("site")
    assert operator.plan() == NOTHING


def test_long_work_shows_how_far_it_is(operator: Operator) -> None:
    slice_ = {
        "site": "pb-long",
        "networks": [
            {"name": f"pb-long-{n}", "forward": "none", "bridge": f"pblong{n}", "active": False} for n in range(3)
        ],
    }

    def call(held: dict[str, Any], **more: object) -> str:
        arguments = json.dumps({"slice": held, "seconds": 0, **more})
        command = [PLAYBOOK.with_name("ansible"), "-i", operator.folder / "hosts.yml", "here", "-m", "dos.vm.host"]
        done = subprocess.run([*command, "-a", arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    shown = call(slice_)
    assert "here: 2 done, 4 to go; last: network pb-long-0 has been" in shown
    assert "remaining: 0" in shown
    assert "pb-long-2 has been undefined" in call({"site": "pb-long"}, prune=True)


def test_status_shows_running_machines_first(operator: Operator) -> None:
    rows = [line.split() for line in operator.play("status").splitlines() if line.startswith("pb-")]
    assert [row[0] for row in rows] == ["pb-web-1", "pb-db", "pb-web-2"]
    assert rows[0][1:4] == ["pb", "here", "running"]


def test_an_invalid_site_names_every_problem_with_its_line_and_contacts_no_host(operator: Operator) -> None:
    good = json.loads(json.dumps(operator.site))
    operator.site["dos_networks"]["pb-net"]["subnet"] = "pb-nett"
    operator.site["dos_instances"]["pb-web"]["vcpuz"] = 2
    operator.site["dos_pools"]["pb-pool"]["capacity"] = "1"
    shown = operator.play("site", succeeds=False)
    operator.site = good
    assert "3 problems in the site; no host was contacted" in shown
    assert "dos_networks.pb-net.subnet: subnet pb-nett does not exist, did you mean pb-net?" in shown.replace("'", "")
    assert "dos_instances.pb-web.vcpuz: is not a known field, did you mean vcpus?" in shown
    assert "site.yml:" in shown
    assert "TASK [Read the hosts]" not in shown


def test_an_object_that_is_not_ours_is_refused_and_then_adopted(operator: Operator) -> None:
    xml = "<network><name>pb-other</name><bridge name='pbbr1'/><ip address='10.213.250.1' prefix='24'/></network>"
    subprocess.run(["virsh", "net-define", "/dev/stdin"], input=xml, text=True, check=True, capture_output=True)
    operator.site["dos_subnets"]["pb-other"] = {"address": "10.213.250.0/24", "gateway": "10.213.250.2"}
    operator.site["dos_networks"]["pb-other"] = {"type": "isolated", "subnet": "pb-other", "bridge": "pbbr1"}
    refused = operator.play("site", succeeds=False)
    assert "network pb-other is on the host, is not ours and differs" in refused
    operator.play("site", "-e", "dos_adopt=true")
    assert operator.plan() == NOTHING


def test_destroy_wants_the_name_of_the_site(operator: Operator) -> None:
    assert "write -e dos_confirm=pb" in operator.play("destroy", succeeds=False)
    assert operator.state("pb-web-1") == "running"

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host answers is data of that host: it sets no variable, adds no host, and declares nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lying import LyingSite, facts

SUBNET = {
    "evil": {
        "address": "10.66.0.0/24",
        "gateway": "10.66.0.1",
        "automatic_gateway": {"host": "h2", "start": "id > /tmp/owned"},
    }
}
NETWORK = {"evil": {"type": "bridge", "bridge": "evil0", "subnet": "evil", "forward_interface": "up0"}}
FACTS = {"dos_subnets__x": SUBNET, "dos_networks__x": NETWORK}


def planned(lying_site: LyingSite, *more: str, **environment: str) -> tuple[dict[str, Any], str]:
    file = lying_site.folder / "plan.json"
    done = lying_site.play("dos.vm.plan", "-e", f"dos_plan_file={file}", *more, environment=environment)
    return (json.loads(file.read_text()) if file.exists() else {}), done.stdout + done.stderr


def test_the_honest_site_has_a_plan(lying_site: LyingSite) -> None:
    lying_site.site |= {"dos_projects": {"p": {}}, "dos_subnets": SUBNET, "dos_networks": NETWORK}
    document, output = planned(lying_site)
    assert "gateway evil" in output, output
    assert "h2" in document["hosts"]


@pytest.mark.parametrize("inject", ["True", "False"])
def test_facts_of_a_host_declare_nothing(lying_site: LyingSite, inject: str) -> None:
    lying_site.answer("h1", {**facts("h1"), "ansible_facts": FACTS})
    document, output = planned(lying_site, ANSIBLE_INJECT_FACT_VARS=inject)
    assert "unreachable=0" in output
    assert "evil" not in json.dumps(document) + output


def test_facts_of_a_host_write_no_file_on_the_controller(lying_site: LyingSite, tmp_path: Path) -> None:
    wanted = tmp_path / "written-by-the-host"
    lying_site.answer(
        "h1", {**facts("h1"), "ansible_facts": {"dos_plan_file": str(wanted), "dos_store": f"sqlite:///{wanted}"}}
    )
    done = lying_site.play("dos.vm.plan", environment={"ANSIBLE_INJECT_FACT_VARS": "True"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert not wanted.exists()


def test_an_answer_adds_no_host_and_no_group(lying_site: LyingSite) -> None:
    added = {"add_host": {"host_name": "evil", "groups": ["dos_hosts"], "host_vars": {}}}
    lying_site.answer("h1", {**facts("h1"), **added, "add_group": "evil", "ansible_notify": ["x"]})
    _, output = planned(lying_site)
    recap = output.partition("PLAY RECAP")[2].splitlines()
    assert [line.split()[0] for line in recap if "ok=" in line] == ["h1", "h2"]


def test_facts_that_were_gathered_elsewhere_stop_the_run(lying_site: LyingSite) -> None:
    """A play of the site's own asks the host with another collection's module, whose facts nothing cuts."""
    play = lying_site.folder / "own.yml"
    lying_site.answer("h1", {"changed": False, "ansible_facts": FACTS})
    tasks = [{"ansible.builtin.setup": {}}, {"dos.vm.site": {}, "run_once": True}]
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = lying_site.play(str(play), environment={"ANSIBLE_INJECT_FACT_VARS": "True"})
    assert done.returncode != 0
    assert "h1 answered facts named dos_networks__x, dos_subnets__x" in done.stdout + done.stderr
    assert "set inject_facts_as_vars = false" in done.stdout + done.stderr


def test_an_answer_that_never_ends_is_given_up(lying_site: LyingSite) -> None:
    unfinished = {**facts("h1"), "plans": [], "kept": 0, "performed": [], "remaining": 1, "upcoming": ""}
    lying_site.answer("h1", unfinished)
    done = lying_site.play("dos.vm.plan")
    assert "the host answered the same 100 times and does not go on" in done.stdout + done.stderr


def test_a_host_that_answers_nonsense_is_unreachable_and_the_others_go_on(lying_site: LyingSite) -> None:
    lying_site.site |= {"dos_projects": {"p": {}}, "dos_subnets": SUBNET, "dos_networks": NETWORK}
    lying_site.answer("h1", {**facts("h1"), "networks": [{"name": "lan", "leases": [{"ip": "\x1b[2Jx"}]}]})
    document, output = planned(lying_site)
    assert "the host answers nonsense: networks[0].leases[0].ip:" in " ".join(output.split()), output
    assert "\x1b" not in output
    assert "unreachable=1" in output
    assert document["silent"] == ["h1"]
    assert "evil" in json.dumps(document["hosts"]["h2"])

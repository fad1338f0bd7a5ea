# SPDX-License-Identifier: GPL-3.0-or-later
"""The Ansible front end, in this process: the real `AnsibleModule`, and a hypervisor that holds what it is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from dosvm import module
from dosvm.errors import HypervisorError
from dosvm.model.address import Address, own_uuid
from dosvm.model.host import HostFacts
from dosvm.model.network import Network
from dosvm.model.pool import Pool
from dosvm.model.secret import Secret
from dosvm.model.types import ByteSize
from dosvm.model.volume import Volume
from dosvm.plan.action import Action, Define, DeleteVolume, SetAutostart, Start, Stop, Undefine
from dosvm.plan.plan import Observed
from dosvm.xml.build import parse

FACTS = HostFacts(
    hostname="h", uuid="u", arch="x86_64", cpus=1, memory=ByteSize("1 GiB"), kvm=False, libvirt=1, hypervisor=1
)


class Held:
    """Pools and volumes in a dictionary: as much of a hypervisor as these claims need."""

    def __init__(self) -> None:
        self.objects: dict[Address, Observed] = {}
        self.secrets: dict[str, bytes] = {}
        self.broken: set[type[Action]] = set()

    def __call__(self, uri: str) -> Held:
        return self

    def facts(self) -> HostFacts:
        return FACTS

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        pass

    def observe(self, site: str, volumes: Iterable[str] = ()) -> dict[Address, Observed]:
        return dict(self.objects)

    def perform(self, action: Action, secrets: Mapping[str, bytes]) -> None:
        if type(action) in self.broken:
            raise HypervisorError("do what was asked", "no space left")
        self.secrets |= secrets
        held = self.objects.get(action.address)
        match action:
            case Define():
                self.put(action.address, action.xml)
            case Undefine() | DeleteVolume():
                del self.objects[action.address]
            case Start() | Stop() if held:
                self.put(held.address, held, active=isinstance(action, Start))
            case SetAutostart() if held:
                self.put(held.address, held, autostart=action.on)

    def put(self, address: Address, was: str | Observed, **more: Any) -> None:
        if isinstance(was, str):
            self.objects[address] = Observed(address=address, xml=parse(was), ours=True)
            return
        power = {"active": was.active, "autostart": was.autostart, **more}
        self.objects[address] = Observed(address=address, xml=was.xml, ours=was.ours, **power)


Call = Callable[..., dict[str, Any]]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    monkeypatch.setattr(module, "LibvirtHypervisor", held)
    return held


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run(work: Callable[[], None], **arguments: Any) -> dict[str, Any]:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            work()
        text = capsys.readouterr().out
        found: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
        return {**found, "text": text}

    return run


def pool() -> None:
    module.run(Pool)


P = {"name": "p", "path": "/srv/p"}


def test_a_pool_is_made_once(host: Held, call: Call) -> None:
    first, second = call(pool, **P), call(pool, **P)
    assert first["changed"]
    assert first["performed"][0] == "pool p has been defined"
    assert first["pool"]["active"]
    assert not second["changed"]
    assert second["plans"] == []
    assert second["kept"] == 1


def test_check_mode_says_what_will_be_done_and_does_nothing(host: Held, call: Call) -> None:
    told = call(pool, **P, _ansible_check_mode=True, _ansible_diff=True)
    assert told["changed"]
    assert told["plans"][0]["actions"][0] == "pool p will be defined"
    assert "/srv/p" in told["diff"][0]["after"]
    assert told["performed"] == []
    assert host.objects == {}


def test_there_is_no_difference_unless_it_is_asked_for(host: Held, call: Call) -> None:
    assert "diff" not in call(pool, **P)


def test_absent_removes_one_object_and_no_other(host: Held, call: Call) -> None:
    call(pool, **P)
    call(pool, name="q", path="/srv/q")
    gone, again = (call(pool, name="p", state="absent") for _ in range(2))
    assert gone["performed"] == ["pool p has been stopped", "pool p has been undefined"]
    assert gone["pool"] is None
    assert not again["changed"]
    assert [address.name for address in host.objects] == ["q"]


def test_what_others_have_on_the_host_is_not_reported(host: Held, call: Call) -> None:
    call(pool, name="q", path="/srv/q")
    assert [plan["name"] for plan in call(pool, **P)["plans"]] == ["p"]


def test_what_is_not_ours_is_not_removed_unless_it_is_adopted(host: Held, call: Call) -> None:
    address = Address("pool", "p")
    xml = parse('<pool type="dir"><name>p</name><target><path>/srv/p</path></target></pool>')
    host.objects[address] = Observed(address=address, xml=xml)
    refused = call(pool, name="p", state="absent")
    assert refused["failed"]
    assert "pool p is on the host and is not ours" in refused["msg"]
    assert refused["error"] == "ConflictError"
    assert call(pool, name="p", state="absent", adopt=True)["changed"]


def test_a_volume_goes_only_by_its_name(host: Held, call: Call) -> None:
    def volume() -> None:
        module.run(Volume)

    address = Address("volume", "p/v")
    xml = parse("<volume><name>v</name><capacity>1048576</capacity></volume>")
    host.objects[address] = Observed(address=address, xml=xml, ours=True)
    refused = call(volume, pool="p", name="v", state="absent", _ansible_check_mode=True)
    assert 'write allow: {data_loss: ["volume p/v"]}' in refused["msg"]
    told = call(volume, pool="p", name="v", state="absent", allow={"data_loss": ["volume p/v"]})
    assert told["performed"] == ["volume p/v has been deleted"]


def test_everything_wrong_is_told_at_once_with_what_to_write(host: Held, call: Call) -> None:
    def network() -> None:
        module.run(Network)

    told = call(network, name="lab", forwrd="nat", state="presnt", subnets=[{"adress": "10.0.0.1/24"}])
    assert told["failed"]
    assert set(told["msg"].splitlines()) == {
        "state: 'presnt' is not a choice, did you mean present? The choices are: present, absent",
        "subnets[0].adress: is not a known field, did you mean address?",
        "subnets[0].address: is required",
        "forwrd: is not a known field, did you mean forward?",
    }


def test_a_slice_is_checked_as_a_whole(host: Held, call: Call) -> None:
    told = call(module.run_host, slice={"pools": [{"name": "a/b"}, {"name": "p", "path": "srv"}]})
    assert "slice.pools[0].name: 'a/b' is not a name" in told["msg"]
    assert "slice.pools[1].path: 'srv' is not an absolute path" in told["msg"]


def test_a_host_reports_what_is_left_and_counts_what_is_kept(host: Held, call: Call) -> None:
    call(module.run_host, slice={"pools": [P, {"name": "q", "path": "/srv/q"}]})
    told = call(module.run_host, slice={"pools": [P]})
    assert not told["changed"]
    assert [(plan["name"], plan["verdict"], plan["needs"]) for plan in told["plans"]] == [("q", "left", "prune")]
    assert told["kept"] == 1
    assert call(module.run_host, slice={"pools": [P]}, prune=True)["changed"]


def test_what_failed_is_told_beside_what_was_done(host: Held, call: Call) -> None:
    host.broken = {Start}
    told = call(pool, **P)
    assert told["failed"]
    assert told["changed"]
    assert told["msg"] == "pool p: do what was asked: no space left"
    assert told["failures"] == [{"object": "pool p", "reason": "do what was asked: no space left"}]
    assert told["performed"][0] == "pool p has been defined"


def test_the_value_of_a_secret_reaches_the_host_and_no_output(host: Held, call: Call) -> None:
    told = call(lambda: module.run(Secret), name="s", value="pässword-1", _ansible_diff=True)
    assert told["changed"]
    assert host.secrets == {"s": "pässword-1".encode()}
    assert "ssword-1" not in told["text"]


def test_information_is_filtered_by_part_of_a_name_and_by_owner(host: Held, call: Call) -> None:
    def info() -> None:
        module.run_info(Pool)

    call(pool, **P)
    foreign = Address("pool", "pp")
    xml = parse('<pool type="dir"><name>pp</name><target><path>/srv/pp</path></target></pool>')
    host.objects[foreign] = Observed(address=foreign, xml=xml, active=True)
    assert [held["name"] for held in call(info)["pools"]] == ["p", "pp"]
    assert [held["name"] for held in call(info, name="pp")["pools"]] == ["pp"]
    (ours,) = call(info, name="p", ours=True)["pools"]
    assert ours["declaration"] == {"name": "p", "path": "/srv/p"}
    assert ours["uuid"] == own_uuid("dos", Address("pool", "p"))
    assert "<path>/srv/p</path>" in ours["xml"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Nova's own filters and weighers, in process: no RPC, no database, no Placement service. Run by `bench_placement.py` with the
Python of an environment that has nova; prints JSON.

Each machine goes through the steps of Nova's scheduler: filter, weigh, take the best host, consume it, tell its group.
"""

from __future__ import annotations

import json
import sys
import time
import uuid

from nova import objects
from nova.objects import base, fields
from nova.scheduler import filters, weights
from nova.scheduler.host_manager import HostState, ReadOnlyDict
from oslo_config import cfg
from oslo_utils import timeutils

FILTERS = (
    "compute_filter.ComputeFilter",
    "compute_capabilities_filter.ComputeCapabilitiesFilter",
    "image_props_filter.ImagePropertiesFilter",
    "affinity_filter.ServerGroupAntiAffinityFilter",
    "affinity_filter.ServerGroupAffinityFilter",
    "num_instances_filter.NumInstancesFilter",
)
WEIGHERS = ("ram.RAMWeigher", "cpu.CPUWeigher", "disk.DiskWeigher", "io_ops.IoOpsWeigher")


def classes(names: tuple[str, ...], where: str) -> list[type]:
    found = []
    for name in names:
        module, _, title = name.partition(".")
        found.append(getattr(__import__(f"nova.scheduler.{where}.{module}", fromlist=[title]), title))
    return found


def host(number: int, memory: int, vcpus: int, disk: int) -> HostState:
    """A host as the scheduler knows it; sizes in MiB and GiB, as Nova has them."""
    held = HostState(f"host-{number:04}", f"host-{number:04}", str(uuid.uuid4()))
    held.total_usable_ram_mb = held.free_ram_mb = memory
    held.vcpus_total, held.vcpus_used = vcpus, 0
    held.total_usable_disk_gb, held.free_disk_mb = disk, disk * 1024
    held.cpu_allocation_ratio = held.ram_allocation_ratio = held.disk_allocation_ratio = 1.0
    held.hypervisor_type, held.hypervisor_version = "QEMU", 7002022
    held.supported_instances = [["x86_64", "qemu", "hvm"], ["x86_64", "kvm", "hvm"]]
    held.stats, held.updated = {}, timeutils.utcnow()
    held.service = ReadOnlyDict({"disabled": False, "host": held.host, "topic": "compute", "forced_down": False,
                                 "last_seen_up": timeutils.utcnow(), "updated_at": timeutils.utcnow(),
                                 "created_at": timeutils.utcnow()})  # fmt: skip
    return held


def spec(vm: dict, groups: dict) -> objects.RequestSpec:
    """What somebody asks for; `groups` keeps the server groups by name."""
    flavor = objects.Flavor(memory_mb=vm["memory"], vcpus=vm["vcpus"], root_gb=vm["disk"], ephemeral_gb=0, swap=0,
                            extra_specs={}, name="m", flavorid="m")  # fmt: skip
    properties = objects.ImageMetaProps(hw_architecture=fields.Architecture.X86_64, img_hv_type=fields.HVType.QEMU)
    group = None
    if vm["group"] is not None:
        group = groups.setdefault(
            vm["group"],
            objects.InstanceGroup(uuid=str(uuid.uuid4()), policy="anti-affinity", policies=["anti-affinity"], rules={},
                                  members=[], hosts=[]),
        )  # fmt: skip
    return objects.RequestSpec(
        flavor=flavor, image=objects.ImageMeta(properties=properties), instance_group=group, instance_uuid=vm["uuid"],
        project_id="p", num_instances=1, scheduler_hints={}, requested_destination=None, pci_requests=None,
        numa_topology=None, ignore_hosts=None, force_hosts=None, force_nodes=None, is_bfv=False,
    )  # fmt: skip


def main() -> None:
    asked = json.load(sys.stdin)
    cfg.CONF([], project="nova", default_config_files=[])
    objects.register_all()
    base.NovaObject.indirection_api = None
    cfg.CONF.set_override("max_instances_per_host", asked["vcpus"], group="filter_scheduler")
    filter_handler, weight_handler = filters.HostFilterHandler(), weights.HostWeightHandler()
    chain = [kind() for kind in classes(FILTERS, "filters")]
    weighers = [kind() for kind in classes(WEIGHERS, "weights")]
    hosts = [host(number, asked["memory"], asked["vcpus"], asked["disk"]) for number in range(asked["hosts"])]
    groups: dict = {}
    specs = [spec(vm, groups) for vm in asked["vms"]]
    placed = 0
    started = time.process_time()
    for one in specs:
        passed = filter_handler.get_filtered_objects(chain, hosts, one, 0)
        if not passed:
            continue
        best = weight_handler.get_weighed_objects(weighers, passed, one)[0].obj
        best.consume_from_request(one)
        best.instances[one.instance_uuid] = one
        if one.instance_group is not None:
            one.instance_group.members.append(one.instance_uuid)
            one.instance_group.hosts.append(best.host)
        placed += 1
    seconds = time.process_time() - started
    print(json.dumps({"placed": placed, "seconds": seconds, "used": sum(bool(held.num_instances) for held in hosts)}))


if __name__ == "__main__":
    main()

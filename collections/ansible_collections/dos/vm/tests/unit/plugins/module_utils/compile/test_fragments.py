# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fragment changes of what fields say is a warning that names both places (CUST-02)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from located import read, where

from dosvm.compile.fragments import fragments_that_override
from dosvm.site.load import load, located

SITE = """
dos_projects: {p: }
dos_pools: {fast: {path: /srv/fast}}
dos_images: {web: {file: /srv/web.img, format: raw}}
dos_networks:
  lan: {type: isolated, xml: '<dns enable="no"/><bridge stp="off" zone="work"/>'}
dos_filters: {mine: {priority: 5, xml: '<filter priority="7"/>'}}
dos_instances:
  web:
    project: p
    memory: 64 MiB
    clock: utc
    disks: [{image: web, pool: fast, cache: none}]
    xml:
      - <domain><clock offset="localtime"/><memtune><hard_limit unit="GiB">1</hard_limit></memtune></domain>
      - <devices><disk><target dev="vda"/><driver cache="unsafe"/><iotune><total_iops_sec>9</total_iops_sec></iotune></disk></devices>
      - <devices><watchdog model="i6300esb" action="reset"/></devices>
    count: 2
"""


def test_a_value_that_a_field_says_too_is_told_with_both_places() -> None:
    variables = read(SITE)
    found = fragments_that_override(load(variables, hosts=("h1", "h2"), where=where))
    said = "which a field says too: use the field and leave it out (CUST-02); see"
    assert [str(problem) for problem in located(found, variables, where).problems] == [
        f"site.yml:6: dos_networks.lan.xml: changes stp to off, {said} dos_networks.lan.stp at site.yml:6",
        f"site.yml:7: dos_filters.mine.xml: changes priority from 5 to 7, {said} dos_filters.mine.priority at site.yml:7",
        f"site.yml:15: dos_instances.web.xml[0]: changes clock to localtime, {said} dos_instances.web.clock at site.yml:12",
        f"site.yml:16: dos_instances.web.xml[1]: changes disks[vda].cache from none to unsafe, {said} "
        "dos_instances.web.disks at site.yml:13",
    ]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Law 8, placement's part: whatever the hosts tell, and whoever is silent, a machine is in the slice of one host at most."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "site"))
from site_strategies import Declared, sites

from dosvm.compile.placing import situation
from dosvm.compile.site import compile_situation
from dosvm.compile.states import HostState
from dosvm.errors import DeclarationError
from dosvm.hypervisor.fake import FakeHypervisor
from dosvm.site.load import load


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(sites(), st.data())
def test_a_machine_is_in_one_slice_and_where_it_is_defined(declared: Declared, data: st.DataObject) -> None:
    site = load(declared.variables, hosts=declared.hosts)
    names = [name for instance, held in site.instances.items() for name in held.machines(instance)]
    at = {name: data.draw(st.none() | st.sampled_from(declared.hosts)) for name in names}
    silent = data.draw(st.sets(st.sampled_from(declared.hosts), max_size=len(declared.hosts) - 1))
    running = data.draw(st.sets(st.sampled_from(names))) if names else set()
    empty = set(data.draw(st.sets(st.sampled_from(declared.hosts))))  # in maintenance
    variables = {**declared.variables, "dos_host_settings": {host: {"maintenance": True} for host in empty}}
    site = load(variables, hosts=declared.hosts)
    states = {
        host: HostState(
            facts=FakeHypervisor().facts(),
            domains={name: True for name in names if at[name] == host},
            active={name: (1, 2**20) for name in names if at[name] == host and name in running},
        )
        for host in declared.hosts
        if host not in silent
    }
    held = situation(site, states, now=0.0)
    try:
        slices = compile_situation(held).slices
    except DeclarationError:
        return  # told why, and nothing is done
    found = [(domain.name, host) for host, slice_ in slices.items() for domain in slice_.domains]
    assert len({name for name, _ in found}) == len(found)
    for name, host in found:
        assert host not in silent
        assert at[name] in (None, host), "it is nowhere else than where it is"
        assert at[name] is not None or not silent, "it could be where nobody answers"
    for host in states:
        for domain in slices[host].domains:
            started = domain.active and at[str(domain.name)] is None
            assert not (started and host in empty), "nothing is started where machines must leave"

# SPDX-License-Identifier: GPL-3.0-or-later
"""The law for people with virsh: whatever they did to a domain, no run of dos.vm takes data from it that is not named.

It holds for every case of the laws and for generated slices, when everything is allowed but the loss of data.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

import pytest
from by_hand import DEEDS, Deed, domains, files
from hypothesis import HealthCheck, Phase, given, settings
from law_cases import EVERYTHING, Case, cases
from slice_strategies import pairs

from dosvm.errors import ConflictError


def it_keeps_what_was_changed_by_hand(case: Case, deed: Deed) -> None:
    for address, _ in list(domains(case.host())):
        host = case.host()
        file = deed(host, host.objects[address])
        if not file:
            continue
        with suppress(ConflictError):  # nothing was done
            replace(case, permission=replace(EVERYTHING, data_loss=())).converge(host)
        assert file in host.files
        if address.name in [domain.name for domain in case.after.domains]:
            assert files(host, address)
        assert all(file in side for side in files(host, address))


EXAMPLES = int(os.environ.get("DOSVM_EXAMPLES", "8"))
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_law_holds_for_the_case(case: Case, deed: Deed) -> None:
    it_keeps_what_was_changed_by_hand(case, deed)


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(case=pairs())
def test_law_holds_for_generated_slices(deed: Deed, case: Case) -> None:
    try:
        case.converge(case.host(), dry_run=True)
    except ConflictError:
        return
    it_keeps_what_was_changed_by_hand(case, deed)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a site can be meant: every rule over the whole of it, in one table.

A rule is a generator from the index to findings. It sees only what could be read, takes a reference that leads nowhere as
somebody else's problem, and stays near-linear: a site has 20,000 machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..errors import spell
from . import validate_addresses as addresses
from . import validate_bridges as bridges
from . import validate_filters as filters
from . import validate_fragments as fragments
from . import validate_hosts as hosts
from . import validate_hosts_refusals as refusals
from . import validate_machines as machines
from . import validate_names as names
from . import validate_networks as networks
from . import validate_placement as placement
from . import validate_projects as projects
from . import validate_references as references
from . import validate_starts as starts
from . import validate_storage as storage
from . import validate_tenancy as tenancy
from . import validate_writes as writes
from .index import Finding, Index, Intent, Orphan
from .site import Site

Rule = Callable[[Index], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    references.references_lead_somewhere,
    references.port_groups_exist,
    references.addresses_are_of_own_cards,
    networks.gateways,
    networks.two_subnets_are_of_two_families,
    networks.services_are_said_once,
    networks.private_networks_are_alone,
    networks.forwards_lead_to_machines,
    networks.automatic_gateways_are_of_bridged_networks,
    networks.subnets_do_not_overlap,
    networks.subnets_are_shared_as_allowed,
    bridges.bridges_are_unique,
    bridges.interfaces_are_used_once,
    bridges.tunnels_are_unique,
    bridges.tunnels_have_ends,
    bridges.cards_have_vlans_where_they_can,
    bridges.cards_are_filtered_where_they_can,
    addresses.macs_are_unique,
    addresses.fixed_macs_run_once,
    addresses.addresses_fit_their_subnet,
    addresses.addresses_are_unique,
    addresses.reservations_are_made_once,
    refusals.served_subnets_suit_dnsmasq,
    refusals.routes_lead_out,
    refusals.secrets_have_a_usage_of_their_own,
    refusals.console_passwords_fit,
    refusals.ide_disks_have_a_board,
    names.served_vms_have_dns_names,
    names.names_have_one_address,
    filters.predefined_filters_stay,
    filters.names_of_groups_are_kept,
    filters.groups_know_their_members,
    filters.assertions_name_what_is_there,
    filters.filters_do_not_circle,
    filters.groups_are_complete,
    filters.groups_are_minimal,
    storage.pools_have_their_own_paths,
    storage.pools_have_their_own_devices,
    storage.pools_log_in_with_their_kind_of_secret,
    storage.luns_are_of_targets,
    storage.block_volumes_are_raw,
    storage.block_volumes_have_no_startup_policy,
    storage.bases_do_not_circle,
    storage.bases_are_beside,
    writes.bases_are_not_written,
    storage.volumes_have_a_host,
    writes.names_of_one_thing_agree,
    writes.nothing_is_written_twice,
    writes.own_disks_boot_with_their_host,
    storage.own_volumes_have_their_own_names,
    storage.encryption_is_by_a_volume_secret,
    storage.pools_hold_their_volumes,
    storage.images_fit_the_architecture,
    storage.images_have_what_they_need,
    storage.images_suit_their_machines,
    machines.names_are_unique,
    machines.unique_instances_have_one_machine,
    machines.bindings_agree,
    machines.console_ports_are_free,
    machines.host_devices_are_given_once,
    fragments.fragments_keep_to_what_no_field_says,
    starts.starts_lead_somewhere,
    starts.starts_do_not_circle,
    placement.settings_are_of_hosts,
    placement.groups_have_hosts,
    placement.hosts_are_in_one_group_of_a_key,
    placement.groups_are_granted,
    placement.filters_and_weighers_exist,
    placement.affinities_lead_somewhere,
    projects.pools_are_granted,
    projects.subnets_are_granted,
    projects.objects_are_of_the_same_project,
    hosts.host_addresses_are_their_own,
    hosts.internal_addresses_are_on_internal_uplinks,
    hosts.fences_are_their_own,
    tenancy.administrators_have_one_project,
    tenancy.addresses_are_of_one_user,
    tenancy.somebody_configures,
    tenancy.projects_are_in_a_group,
    tenancy.images_are_of_the_group,
    tenancy.images_are_in_their_groups_directory,
    tenancy.filters_are_granted,
    projects.quotas_hold,
    projects.counted_images_have_a_size,
    projects.counted_disks_have_a_size,
)

# Those that ask which VMs are on, which power overrides change without the declaration: what one VM has alone, and sums.
EXCLUSIVE: tuple[Rule, ...] = (
    addresses.fixed_macs_run_once,
    writes.nothing_is_written_twice,
    machines.console_ports_are_free,
    machines.host_devices_are_given_once,
)
LIMITS: tuple[Rule, ...] = (projects.quotas_hold,)

ADVICE: tuple[Rule, ...] = (
    projects.projects_can_run_machines,
    machines.machines_that_cannot_run,
    starts.starts_can_happen,
    networks.delays_are_whole_seconds,
    networks.outbound_peaks_mean_nothing,
    bridges.macvtap_keeps_apart,
    networks.services_run_somewhere,
    storage.windows_reads_local_time,
    addresses.addresses_without_dhcp,
)


def findings(
    site: Site,
    broken: frozenset[tuple[str, str]] = frozenset(),
    used: Mapping[tuple[str, str], int] | None = None,
) -> Iterator[Finding]:
    """All that is wrong. `broken` are kind and name of objects that are declared and could not be read.

    `used` is what projects used of their quotas before, by project and quota; nothing when nobody knows.
    """
    index = Index(site, broken, used)
    yield from index.unnameable
    for rule in RULES:
        yield from rule(index)


def findings_of_intent(
    site: Site,
    intent: Intent,
    used: Mapping[tuple[str, str], int] | None = None,
    *,
    orphans: tuple[Orphan, ...] = (),
    first: frozenset[str] = frozenset(),
    rules: Iterable[Rule] = (*EXCLUSIVE, *LIMITS),
) -> Iterator[Finding]:
    """What is wrong with the VMs that are intended on, of a site that is otherwise checked.

    `orphans` and `first` are as for an `Index`.
    """
    index = Index(site, used=used, intent=intent, orphans=orphans, first=first)
    for rule in rules:
        yield from rule(index)


def warnings(site: Site) -> list[str]:
    """What is allowed and probably not meant (ARCH-15)."""
    index = Index(site)
    return [f"{spell(found.at)}: {found.text}" for rule in ADVICE for found in rule(index)]

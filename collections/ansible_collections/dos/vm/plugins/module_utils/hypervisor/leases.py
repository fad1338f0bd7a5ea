# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses the networks of a host have handed out."""

from __future__ import annotations

from typing import Any

from .._thirdparty import libvirt
from ..errors import HypervisorError
from .libvirt import LibvirtHypervisor

FIELDS = {"mac": "mac", "ip": "ipaddr", "prefix": "prefix", "hostname": "hostname", "expires": "expirytime"}


def leases(hypervisor: LibvirtHypervisor) -> dict[str, list[dict[str, Any]]]:
    """The DHCP leases of every active network, by its name; `expires` is in seconds since 1970."""
    try:
        networks = hypervisor._connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
        return {network.name(): _of(network) for network in networks}
    except libvirt.libvirtError as failed:
        raise HypervisorError("reading the DHCP leases", str(failed), failed.get_error_code()) from None


def _of(network: Any) -> list[dict[str, Any]]:
    try:
        found = network.DHCPLeases()
    except libvirt.libvirtError as failed:
        # A network that went away while we look has none, and neither has one whose DHCP is not libvirt's.
        if failed.get_error_code() in (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_OPERATION_INVALID):
            return []
        if failed.get_error_code() in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED):
            return []
        raise
    return [{name: lease.get(key) for name, key in FIELDS.items()} for lease in found]

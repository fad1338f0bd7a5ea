#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates
short_description: Give a host its certificates
version_added: "0.1.0"
description:
  - Issues the certificates a host should hold, where it has none, where they say something else than they should, do not
    fit their keys, were issued by another authority, or are about to end.
  - Keys are made on the host and never leave it; certificates are signed on the controller, where the authorities are
    that M(dos.vm.authority) makes.
  - The pass phrase of an authority's key is the variable C(tls_ca_passphrase). It is needed when something must be signed.
author:
  - dos.vm contributors (@dos-vm)
requirements:
  - C(openssl) on the managed host
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return the status prediction without changing anything.
  diff_mode:
    support: full
    description: Returns what has changed, or would change in C(check_mode), when in diff mode.
    details:
      - What certificates say, never a key.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second run changes nothing.
extends_documentation_fragment:
  - dos.vm.authorities
  - dos.vm.certificates
seealso:
  - module: dos.vm.authority
"""

EXAMPLES = r"""
- name: What libvirt presents to those who call it
  dos.vm.certificates:
    folder: "{{ inventory_dir }}/.pki"
    names: "{{ [inventory_hostname, ansible_host] }}"
    holdings:
      - authority: libvirt
        usage: server
        certificate: /etc/pki/libvirt/servercert.pem
        key: /etc/pki/libvirt/private/serverkey.pem
        trusted: /etc/pki/CA/cacert.pem
"""

RETURN = r"""
issued:
  description: The certificates that were issued, each with the reasons why.
  returned: always
  type: dict
authorities:
  description: For each authority the fingerprints that the host now C(trusts), and those of the C(issuers) of what it holds.
  returned: always
  type: dict
ends:
  description: When the first of the certificates ends, in UTC.
  returned: always
  type: str
"""

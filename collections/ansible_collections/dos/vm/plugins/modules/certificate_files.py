#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_files
short_description: Look at, make and place keys and certificates on a host
version_added: "0.1.0"
description:
  - What M(dos.vm.certificates) calls on the host; use that one.
  - Private keys are made on the host with C(openssl) and stay there. They are in no answer and on no command line.
author:
  - dos.vm contributors (@dos-vm)
requirements:
  - C(openssl) on the managed host
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return the status prediction without changing anything.
  diff_mode:
    support: none
    description: Returns what has changed, or would change in C(check_mode), when in diff mode.
  idempotent:
    support: partial
    description: When run twice in a row with the same arguments, the second run changes nothing.
    details:
      - Looking changes nothing; what is asked for is done each time.
extends_documentation_fragment:
  - dos.vm.certificate_files
seealso:
  - module: dos.vm.certificates
"""

EXAMPLES = r"""
- name: See what a host presents to those who call its libvirt
  dos.vm.certificate_files:
    holdings:
      - authority: libvirt
        usage: server
        certificate: /etc/pki/libvirt/servercert.pem
        key: /etc/pki/libvirt/private/serverkey.pem
        trusted: /etc/pki/CA/cacert.pem
"""

RETURN = r"""
nodename:
  description: What the host calls itself.
  returned: always
  type: str
holdings:
  description: >-
    For each of O(holdings) its C(certificate) and C(trusted) certificates, the C(public_key) of its key, all in PEM, and
    the paths whose owner or mode is not as it should be, C(loose).
  returned: always
  type: list
  elements: dict
requests:
  description: A request to sign each key of O(asked), in PEM.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dos.vm.plugins.module_utils.errors import DosVmError
from ansible_collections.dos.vm.plugins.module_utils.model.argument_spec import argument_spec
from ansible_collections.dos.vm.plugins.module_utils.model.certificate import FilesRun
from ansible_collections.dos.vm.plugins.module_utils.model.decode import decode
from ansible_collections.dos.vm.plugins.module_utils.pki import files


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(FilesRun), supports_check_mode=True)
    try:
        run = decode(FilesRun, {name: value for name, value in module.params.items() if value is not None})
        requests = files.perform(run, dry_run=module.check_mode)
        told = files.observe(run.holdings)
    except DosVmError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(run.asked or run.installed or run.restore), requests=requests, **told)


if __name__ == "__main__":
    main()

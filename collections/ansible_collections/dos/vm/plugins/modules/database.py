#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: database
short_description: Make the database of the store
version_added: "0.1.0"
description:
  - Makes on a MariaDB server the database that C(dos_store) names, its user and that user's rights, as far as they are missing,
    and the tables in it; or brings the tables of an older dos.vm up to date. It runs on the controller.
  - A user that is there is used as it is. The server is asked first, and nothing is made where it does not answer.
author:
  - dos.vm contributors (@dos-vm)
options:
  administrator:
    description: URL of a user who may make databases and users; without it only the tables are made.
    type: str
  clients:
    description: The addresses that the new user may come from, as MariaDB writes them.
    type: str
    default: "%"
  confirm:
    description: The name of the database; without it nothing is made on the server, and what is missing is told.
    type: str
extends_documentation_fragment:
  - dos.vm.attributes
seealso:
  - module: dos.vm.recover
"""

EXAMPLES = r"""
- name: Make the database
  dos.vm.database:
    administrator: "mysql+pymysql://root:{{ vault_root }}@db1/"
    clients: 10.0.0.%
    confirm: dosvm
  run_once: true
"""

RETURN = r"""
performed:
  description: Sentences that say what was done.
  returned: success
  type: list
  elements: str
version:
  description: The version of the tables.
  returned: success
  type: str
"""

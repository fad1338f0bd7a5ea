# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's hosts as an Ansible inventory. That of the default lab is inventories/lab/hosts.yml, and a test holds them together."""

from __future__ import annotations

from . import net
from .lab import DEFAULT, Lab

HEAD = """# Written by `tests/lab/lab.py inventory`. Hosts that `make lab-up` makes; they can only be reached inside the lab:
#   make lab-ctl CMD='ansible-playbook -i inventories/lab dos.vm.site'
all:
  children:
    dos_hosts:
      hosts:
"""
VARIABLES = """      vars:
        lab_folder: "{folder}"
        ansible_user: root
        # Debian's own interpreter, with Debian's python3-libvirt and python3-lxml: what a managed host has.
        ansible_python_interpreter: /usr/bin/python3
        ansible_ssh_private_key_file: "{{{{ lab_folder }}}}/id_ed25519"
        # Host keys are checked, against those that the lab gave its hosts. A silent host is noticed in 6 s.
        ansible_ssh_common_args: >-
          -o UserKnownHostsFile={{{{ lab_folder }}}}/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes
          -o ConnectTimeout=5 -o ServerAliveInterval=2 -o ServerAliveCountMax=3
"""


def render(lab: Lab, count: int) -> str:
    """YAML for the first `count` hosts, whether the lab is up or not."""
    folder = f"{{{{ inventory_dir }}}}/../../.cache/lab/{DEFAULT}" if lab.name == DEFAULT else str(lab.folder)
    hosts = "".join(f"        h{n}: {{ansible_host: {net.address(lab.index, n)}}}\n" for n in range(1, count + 1))
    return HEAD + hosts + VARIABLES.format(folder=folder)

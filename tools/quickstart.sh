#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Real guests on this machine, from nothing: an image, a libvirt that answers, the site, and the guests' own word that they
# are up. `make quickstart` has set everything up before; run it as often as you like.
set -eu
cd "$(dirname "$0")/.."

images=/var/lib/dos-vm/images
play=(.venv/bin/ansible-playbook -i inventories/quickstart)
started=$SECONDS

.venv/bin/python tools/guest_image.py
.venv/bin/python tools/libvirt_up.py
install -d -m 755 /var/lib/dos-vm "$images"
cmp -s .cache/guest/busybox.qcow2 "$images/busybox.qcow2" || install -m 644 .cache/guest/busybox.qcow2 "$images/"

"${play[@]}" dos.vm.site "$@"
.venv/bin/python tools/guests_answer.py web-1 web-2 --network quick-lan --domain quick.example
"${play[@]}" dos.vm.status
echo "quickstart took $((SECONDS - started)) s; the cloud is inventories/quickstart/group_vars/all/site.yml"
echo "look:   virsh console web-1     curl http://192.168.231.11/"
echo "change: edit the file, then     .venv/bin/ansible-playbook dos.vm.plan"
echo "end:    .venv/bin/ansible-playbook dos.vm.destroy -e dos_confirm=quickstart"

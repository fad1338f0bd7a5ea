#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# PID 1 of an emulated machine until it sees the root file system of the machine that emulates it; then init.py is.

export PATH=/bin
mount -t proc proc /proc
while read -r module; do insmod "/modules/$module"; done < /modules/root.order
mount -t virtiofs -o ro root /mnt
for word in $(cat /proc/cmdline); do
    case $word in init=*) init=${word#init=} ;; esac
done
umount /proc
exec switch_root /mnt "$init"

# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for the hosts of a lab, where libvirt and QEMU look for them by themselves: a stand-in for an authority."""

from __future__ import annotations

import subprocess
from pathlib import Path

from namespaces.host import Host

#: Names that libvirt and QEMU give to the same three things, by folder.
PLACES = {
    "libvirt": {"CA/cacert.pem": "ca.crt"}
    | {f"libvirt/{side}cert.pem": "host.crt" for side in ("server", "client")}
    | {f"libvirt/private/{side}key.pem": "host.key" for side in ("server", "client")},
    "qemu": {"qemu/ca-cert.pem": "ca.crt"}
    | {f"qemu/{side}-cert.pem": "host.crt" for side in ("server", "client")}
    | {f"qemu/{side}-key.pem": "host.key" for side in ("server", "client")},
}


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def authority(folder: Path) -> None:
    subject = ["-subj", "/CN=lab", "-days", "2", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl(folder, "req", "-x509", *subject, "-keyout", "ca.key", "-out", "ca.crt")


def install(folder: Path, host: Host) -> None:
    """A key and a certificate for a running host, by name and by address; libvirt listens for TLS from then on."""
    request = ["-subj", f"/CN={host.name}", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl(folder, "req", *request, "-keyout", "host.key", "-out", "host.csr")
    (folder / "host.ext").write_text(f"subjectAltName=DNS:{host.name},IP:{host.address}\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "host.ext"]
    openssl(folder, "x509", "-req", "-in", "host.csr", *signed, "-out", "host.crt")
    for owner, files in PLACES.items():
        for place, source in files.items():
            text = (folder / source).read_text()
            path = f"/etc/pki/{place}"
            group = "libvirt-qemu" if owner == "qemu" else "root"
            command = f"mkdir -p {Path(path).parent} && printf %s '{text}' >{path} && chgrp {group} {path} && chmod 640 {path}"
            host.run("sh", "-c", command)
    host.run("systemctl", "stop", "libvirtd.service")
    host.run("systemctl", "start", "libvirtd-tls.socket", "libvirtd.service")

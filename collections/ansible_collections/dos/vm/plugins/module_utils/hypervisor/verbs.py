# SPDX-License-Identifier: GPL-3.0-or-later
"""What each action is called where it fails: "start domain web: …"."""

from __future__ import annotations

from collections.abc import Mapping

from ..plan.action import (
    Action,
    AttachDevice,
    Build,
    CreateVolume,
    Define,
    DeleteVolume,
    DetachDevice,
    Find,
    Inject,
    Replug,
    ResizeVolume,
    Restart,
    SetAutostart,
    SetMemory,
    SetSecretValue,
    SetVcpus,
    Start,
    Stop,
    Undefine,
    UpdateDevice,
    UpdateNetwork,
    WriteSeed,
)

VERBS: Mapping[type[Action], str] = {
    Define: "define",
    Undefine: "undefine",
    Build: "build",
    Find: "find",
    Start: "start",
    Restart: "restart",
    Stop: "stop",
    SetAutostart: "set the autostart of",
    CreateVolume: "create",
    ResizeVolume: "grow",
    DeleteVolume: "delete",
    SetSecretValue: "set the value of",
    UpdateNetwork: "update",
    AttachDevice: "attach a device to",
    DetachDevice: "detach a device from",
    UpdateDevice: "update a device of",
    Replug: "plug in",
    SetVcpus: "set the vCPUs of",
    SetMemory: "set the memory of",
    WriteSeed: "write the seed of",
    Inject: "set up",
}

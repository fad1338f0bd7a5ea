# SPDX-License-Identifier: GPL-3.0-or-later
"""What projects use of their quotas, as rows for people: one text table, and one page with bars that needs nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ansible_collections.dos.vm.plugins.module_utils.site.index import Intent, Orphan
from ansible_collections.dos.vm.plugins.module_utils.site.site import Site
from ansible_collections.dos.vm.plugins.module_utils.site.sizes import Observed
from ansible_collections.dos.vm.plugins.module_utils.site.usage import QUOTAS, Row, Used, rows, shown

TEMPLATE = Path(__file__).parents[2] / "playbooks" / "templates" / "usage.html.j2"
WORDS = {
    "instances": "instances",
    "vcpus": "vCPUs",
    "memory": "memory",
    "disk": "disk",
    "image_size": "size of images",
    "images": "images",
    "snapshots": "snapshots",
}
COLUMNS = {
    "project": "PROJECT",
    **{quota: WORDS[quota].upper() for quota in QUOTAS},
    "vcpu_time": "VCPU TIME",
}
NEAR = 0.9  # of a limit


def usage(
    site: Site,
    before: Used | None,
    vcpu_seconds: Mapping[str, float],
    on: Intent,
    orphans: tuple[Orphan, ...] = (),
    observed: Observed | None = None,
) -> list[dict[str, Any]]:
    """One entry for each project (QUOTA-03, QUOTA-04); projects that are gone are there with what they used up.

    `on` says which VMs are intended on or run, `orphans` are no longer declared, and `observed` are sizes that nothing declares.
    """
    held = rows(site, before, on, orphans, observed)
    found = [
        {
            "name": str(name),
            "label": project.label,
            "active": project.active,
            "quotas": {row.quota: _entry(row) for row in held if row.project == name},
            "vcpu_seconds": vcpu_seconds.get(str(name), 0.0),
            "vcpu_time": duration(vcpu_seconds.get(str(name), 0.0)),
        }
        for name, project in site.projects.items()
    ]
    return found


def _entry(row: Row) -> dict[str, Any]:
    """A quota of a project: amounts as numbers, and as people read them."""
    share, limit = row.share, row.limit
    return {
        "words": WORDS[row.quota],
        "used": row.after,
        "before": row.before,
        "limit": limit,
        "share": share,
        "share_before": None if share is None or row.before is None else row.before / limit if limit else 1.0,
        "text": shown(row.quota, row.after) + (f" / {shown(row.quota, limit)}" if limit is not None else ""),
        "tone": "over" if share and share > 1 else "near" if share and share >= NEAR else "fine",
    }


def table_rows(found: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """The entries as rows of a text table."""
    for entry in found:
        cells = {quota: held["text"] for quota, held in entry["quotas"].items()}
        yield {"project": entry["name"], **cells, "vcpu_time": entry["vcpu_time"]}


def page(site: str, found: list[dict[str, Any]], now: float) -> str:
    """The page, complete in itself."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    at = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(now))
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(site=site, projects=found, at=at) + "\n"


def duration(seconds: float) -> str:
    """Days and hh:mm:ss (QUOTA-03)."""
    days, rest = divmod(int(seconds), 86400)
    return f"{days} d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"

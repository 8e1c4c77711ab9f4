"""Where the samples of a stream are kept: on the device, in host memory, or on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import torch

Cache = Literal["device", "memory", "disk"]

CACHES: tuple[Cache, ...] = get_args(Cache)
_DEVICE_SHARE, _HOST_SHARE = 0.5, 0.25
_CGROUPS = (
    (Path("/sys/fs/cgroup"), "", "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Versions 2 and 1 of Linux's control groups: where they stand, the controller's name, limit, use, and use that yields."""


def chosen_cache(size: int, device: torch.device, asked: Cache | None = None) -> tuple[Cache, str]:
    """Where a set is kept, and why, in words.

    The device where the set takes at most half of its free memory; host memory where it takes at most a quarter of what this
    process may use; else the disk.

    Args:
        size: bytes of the set as a stream gives it.
        asked: what the caller wants; the choice is made here if None.
    Raises:
        ValueError: no such place.
    """
    if asked is not None and asked not in CACHES:
        raise ValueError(f"cache: got {asked!r}, need one of {', '.join(CACHES)}, or None to choose by size")
    amount = f"{size / 1e6:,.1f} MB"
    if asked is not None:
        return asked, f"samples are kept on {_place(asked, device)}, as asked for: {amount}"
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        if size <= _DEVICE_SHARE * free:
            return "device", f"samples are kept on {device}: {amount} of {free / 1e6:,.0f} MB that are free"
    allowed = memory_allowed()
    if allowed is None or size <= _HOST_SHARE * allowed:
        place: Cache = "device" if device.type == "cpu" else "memory"
        of = "" if allowed is None else f" of {allowed / 1e6:,.0f} MB that this process may use"
        return place, f"samples are kept in memory: {amount}{of}"
    return "disk", f"samples are read from disk: {amount} is more than a quarter of {allowed / 1e6:,.0f} MB of memory"


def memory_allowed() -> int | None:
    """Bytes of host memory that this process may still take: what the system has, within the limit of its control group."""
    bounds: list[int] = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        if "MemAvailable" in lines:
            bounds.append(1024 * int(lines["MemAvailable"].split()[0]))
    elif "SC_PHYS_PAGES" in os.sysconf_names:
        bounds.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for home, controller, limit, used, yielding in _CGROUPS:
        for group in _groups(home, controller):
            bounds += _left_of(group / limit, group / used, group / "memory.stat", yielding)
    return min(bounds) if bounds else None


def _groups(home: Path, controller: str) -> list[Path]:
    """The control groups of this process, from its own up to the root."""
    own = Path("/proc/self/cgroup")
    if not home.is_dir() or not own.exists():
        return []
    for line in own.read_text(encoding="utf-8").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            inside = home / path.lstrip("/")
            return [inside, *(parent for parent in inside.parents if parent.is_relative_to(home))]
    return [home]


def _left_of(limit: Path, used: Path, statistics: Path, yielding: str) -> list[int]:
    """What a group has left; files in the page cache give way. Nothing where it has no limit."""
    try:
        most, now = limit.read_text(encoding="ascii").strip(), int(used.read_text(encoding="ascii"))
        pages = dict(line.split() for line in statistics.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return []
    return [max(int(most) - now + int(pages.get(yielding, 0)), 0)] if most.isdecimal() else []


def _place(cache: Cache, device: torch.device) -> str:
    return {"device": str(device), "memory": "host memory", "disk": "disk"}[cache]


__all__ = ["CACHES", "Cache", "chosen_cache", "memory_allowed"]

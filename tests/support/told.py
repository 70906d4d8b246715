"""What a mount tells in `status.json`, made up: for the tables that are drawn of it."""

from copy import deepcopy
from typing import Any

NOON = "2026-01-31T12:00:00Z"


def tier(used_bytes: int | None, limit_bytes: int, hits: int = 0, misses: int = 0, **more: object) -> dict[str, Any]:
    counts = {"hits": hits, "misses": misses, "problem": None, "hit_bytes": hits << 20, "evictions": 0, "failures": 0}
    return {"used_bytes": used_bytes, "limit_bytes": limit_bytes, **counts, **more}


def operation(count: int, took_s: float, **errors: int) -> dict[str, Any]:
    return {"count": count, "errors": errors, "duration": {"bounds_s": [], "counts": [], "sum_s": took_s}}


def model(handle: str, **more: Any) -> dict[str, Any]:
    """A model that is whole in the cache, and that nobody reads."""
    return {
        "handle": handle,
        "error": None,
        "url": f"https://hub/{handle}",
        "form": "compressed",
        "open_files": 0,
        "read_bytes": 0,
        "complete": True,
        "streaming": False,
        "came_bytes": 0,
        "to_come_bytes": 0,
        "cached_bytes": 3_000_000,
        "files": 2,
        "size_bytes": 3_000_000,
        **more,
    }


def gone(handle: str, error: str = "https://hub: no route", **trouble: Any) -> dict[str, Any]:
    """A model that could not be found."""
    said = {"path": "", "errno": "EHOSTUNREACH", "since": NOON, "last": NOON, "count": 1, "retry_at": None}
    return {"handle": handle, "error": error, "trouble": {**said, "advice": "wait for the hub", **trouble}}


_TOLD = {
    "version": "1.0",
    "mountpoint": "/mnt/hubs",
    "hub": None,
    "hubs": {"tfhub": "https://tfhub.dev", "hf": "https://huggingface.co"},
    "offline": False,
    "pid": 4711,
    "supervised": True,
    "restarts": 0,
    "binding": "kernel session",
    "uptime_s": 100.0,
    "cache_dir": "/var/cache/hubfs",
    "cache": {"memory": tier(1 << 20, 4 << 20, 3, 1), "disk": tier(1 << 30, 10 << 30, 0, 1)},
    "lost_bytes": 0,
    "memory_budget": {"taken_bytes": 1 << 20, "limit_bytes": 2 << 20},
    "http": {"requests": 7, "bytes_received": 5_000_000},
    "origins": {
        "tfhub": {"requests": 3, "bytes_received": 4_000_000},
        "hf": {"requests": 4, "bytes_received": 1_000_000},
    },
    "operations": {"read": operation(100, 1.0, EIO=2), "lookup": operation(50, 0.005)},
    "read_bytes": 10_000_000,
    "passthrough": {"on": True, "off_because": None, "open_files": 2, "opens": 3},
    "inflating_unconfined_by": None,
    "certificates_verified": True,
    "models": [model("tfhub/google/spice/2")],
    "model_counts": {"found": 1, "in_use": 1, "in_trouble": 0, "shown": 1},
    "ways": [],
    "budgets": [],
    "latest": [],
    "latest_counts": {"asked": 0, "stale": 0, "shown": 0},
    "log_file": None,
    "log_problem": None,
    "recent_problems": [],
}


def told(**changes: Any) -> dict[str, Any]:
    """A mount of two hubs in good health, but for these fields."""
    return deepcopy({**_TOLD, **changes})


def later(before: dict[str, Any], seconds: float = 2.0, **changes: Any) -> dict[str, Any]:
    """What the same daemon tells so many seconds later."""
    return deepcopy({**before, "uptime_s": before["uptime_s"] + seconds, **changes})

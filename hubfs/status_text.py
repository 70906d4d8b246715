"""What a mount says of itself, for people."""

from collections.abc import Mapping
from typing import Any


def as_text(status: Mapping[str, Any]) -> str:
    """`status` in a few lines: see `Status.describe`; or `mountpoint` and `dead` of a mount that does not answer."""
    if "dead" in status:
        reason = (
            "dead; `hubfs mount` there replaces it"
            if status["dead"]
            else "mounted by another user, for that user alone"
        )
        return f"{status['mountpoint']}: {reason}"
    daemon = f"up {status['uptime_s']:.0f} s, process {status['pid']}, {status['binding']}"
    lines = [f"{status['mountpoint']}: {status['hub']} ({daemon})"]
    for name, tier in status["cache"].items():
        used_mib, limit_mib = tier["used_bytes"] / 2**20, tier["limit_bytes"] / 2**20
        where = f" in {status['cache_dir']}" if name == "disk" else ""
        lines.append(f"  {name}: {used_mib:.1f} of {limit_mib:.0f} MiB{where}")
    for model in status["models"]:
        state = f"{model['cached_bytes'] / 2**20:.1f} MiB cached, {model['form']}" if "form" in model else "unreadable"
        lines.append(f"  {model['handle']}: {state}{', still streaming' if model.get('complete') is False else ''}")
        if model["error"]:
            lines.append(f"    {model['error']}")
    return "\n".join(lines)

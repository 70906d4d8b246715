"""Mounts that are there, dead and alive."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hubfs.commands.doctor.finding import Finding, ok, problem, warning
from hubfs.mounts import table as mount_table
from hubfs.mounts.table import State


def examine() -> Iterator[Finding]:
    """One finding a mount, each looked at by a process of its own, with a bound."""
    findings = mount_table.of_each(_finding)
    yield from findings or [ok("mounts", "no hub is mounted")]


def _finding(mountpoint: Path) -> Finding:
    state, status = mount_table.state_of(mountpoint)
    subject = f"mount {mountpoint}"
    if state is State.SHUT:
        return ok(subject, "another user's")
    if state is State.DEAD:
        advice = f"hubfs unmount {mountpoint}; or hubfs mount {mountpoint} replaces it"
        return problem(subject, "its daemon is gone", advice)
    if state is State.SILENT:
        return problem(subject, "its daemon does not answer", f"hubfs unmount --force {mountpoint} ends it")
    return _of_models(mountpoint, subject, status or {})


def _of_models(mountpoint: Path, subject: str, status: Mapping[str, Any]) -> Finding:
    try:
        unreadable = int(status["model_counts"]["in_trouble"])
        found = f"{status['hub']}, {int(status['model_counts']['in_use'])} models in use"
    except (LookupError, TypeError, ValueError, OverflowError):  # its user may have it say anything
        return warning(
            subject,
            "it answers, but not as a daemon of this version of hubfs does",
            f"hubfs unmount {mountpoint}, and mount it again",
        )
    if unreadable:
        what = f"{unreadable} models cannot be read"
        return warning(subject, what, f"hubfs status {mountpoint} says which, and why")
    return ok(subject, found)

"""Mounts that are there, dead and alive."""

from collections.abc import Iterator

from hubfs import mount_table
from hubfs.doctor.finding import Finding, ok, problem, warning
from hubfs.errors import MountFailed


def examine() -> Iterator[Finding]:
    """One finding a mount, each looked at by a process of its own, with a bound."""
    mountpoints = mount_table.mountpoints()
    if not mountpoints:
        yield ok("mounts", "no hub is mounted")
    for mountpoint in mountpoints:
        try:
            status = mount_table.read_status(mountpoint)
        except MountFailed:  # taken off meanwhile
            continue
        subject = f"mount {mountpoint}"
        if status is None and mount_table.is_dead(mountpoint):
            yield problem(
                subject, "its daemon is gone", f"hubfs unmount {mountpoint}; or hubfs mount {mountpoint} replaces it"
            )
        elif status is None:
            yield problem(
                subject,
                "its daemon does not answer, or not to this user",
                f"hubfs unmount --force {mountpoint} ends it",
            )
        elif unreadable := [model for model in status["models"] if model.get("error")]:
            yield warning(
                subject, f"{len(unreadable)} models cannot be read", f"hubfs status {mountpoint} says which, and why"
            )
        else:
            yield ok(subject, f"{status['hub']}, {len(status['models'])} models in use")

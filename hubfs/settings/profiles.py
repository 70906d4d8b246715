"""Profiles: settings for a kind of use, by the name of each. A flag, the environment or the config file beats them."""

from collections.abc import Mapping
from dataclasses import dataclass

from hubfs.settings.values import parse_word


@dataclass(frozen=True)
class Choice:
    """A value as the config file has it, and why it is this one."""

    value: str
    why: str


PROFILES: Mapping[str, Mapping[str, Choice]] = {
    "notebook": {
        "memory_size": Choice("128MiB", "the notebook itself needs the memory"),
        "connect_timeout": Choice("5s", "a person waits, and would rather read an error"),
        "stall_timeout": Choice("15s", "a person waits, and would rather read an error"),
        "negative_ttl": Choice("2s", "a model that was published just now is there when the cell is run again"),
        "failure_ttl": Choice("5s", "a damaged model is fetched anew when the cell is run again"),
    },
    "serving": {
        "cache_size": Choice("100GiB", "a model that was evicted would make the next start a cold one"),
        "memory_size": Choice("512MiB", "replicas start together, and each reads ahead"),
        "hang_timeout": Choice("20s", "requests wait for a daemon that hangs, and for its successor"),
        "connect_timeout": Choice("20s", "a start that is late is better than a start that fails"),
        "stall_timeout": Choice("1m", "a start that is late is better than a start that fails"),
    },
    "ci": {
        "cache_size": Choice("5GiB", "disks of runners are small, and the cache is restored and saved by each job"),
        "supervise": Choice("false", "nothing of a job may outlive it"),
        "connect_timeout": Choice("30s", "a job that is late is better than a job that fails"),
        "stall_timeout": Choice("2m", "a job that is late is better than a job that fails"),
        "failure_ttl": Choice("2s", "the next attempt of a step fetches a damaged model anew"),
        "log_level": Choice("warning", "the log of a job is read when the job failed"),
    },
}

parse_profile = parse_word({name: name for name in PROFILES})

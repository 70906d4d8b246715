"""A hub that does its worst, for as long as asked (`HUBFS_HOSTILE_S`): who reads what is cached notices nothing."""

import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.archives import gzipped, model_files, tar_of
from tests.support.figures import Figures, budget
from tests.support.hostile_hub import GOOD, MISSING, PLAYS, HostileHub, hostile_hub
from tests.support.mount import Machine, Mount, clear, is_mounted, mounted
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.timeout(0)]  # it ends by itself: its calls have a bound

DURATION_S = budget("hostile_s", boxed=60, full=300)
ROUNDS = 4
"""Each with a daemon of its own, which is told to end in the middle of it all; the last is as long as the others."""

LONGEST_S = 1.0
TERMINATED_S = 2.0
VICTIMS = 8
MEMORY = "64MiB"
GROWTH_BYTES = 48 << 20
LINE_BYTES = 16 << 10
LOG_BYTES_PER_REPLY = 2048
"""With everything that there is to say (DEBUG)."""
PASSWORD = "S3CR3TNETRC"

# Reads what is there, and says how long the longest took: `python -c PROBE SECONDS FILE…`.
PROBE = """
import json, os, random, sys, time
until, longest, count = time.monotonic() + float(sys.argv[1]), {}, 0
while time.monotonic() < until:
    for path in sys.argv[2:]:
        began = time.monotonic()
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(random.randrange(max(1, size)))
            assert file.read(4096)
        longest[path] = max(longest.get(path, 0), time.monotonic() - began)
        count += 1
    time.sleep(0.01)
print(json.dumps([count, longest]))
"""

# Asks for whatever the hub may have, for ever: `python -c VICTIM MOUNT SEED`.
VICTIM = """
import os, random, sys
mount, dice = sys.argv[1], random.Random(sys.argv[2])
def read(path):
    with open(path, "rb", buffering=0) as file:
        file.read(1 << 16)
def walk(path):
    for entry in os.listdir(path):
        os.lstat(os.path.join(path, entry))
number = 0
while True:
    number += 1
    name = f"{dice.choice(['a', 'archive', 'b'])}{sys.argv[2]}/"
    name += dice.choice(["", "", "lite-model/", "tfjs-model/"]) + f"m{number}"
    what = dice.choice(["1/saved_model.pb", "1/model.json", "1", "latest", "1/a/b/c", ""])
    for ask in (read, walk, os.stat, lambda path: os.getxattr(path, "user.hubfs.error")):
        try:
            ask(os.path.join(mount, name, what))
        except OSError:
            pass
    if number % 5 == 0:
        for folder in ("", "p1", "a/collection/b", ".hubfs"):
            try:
                walk(os.path.join(mount, folder))
                read(os.path.join(mount, ".hubfs/status.json"))
            except OSError:
                pass
"""


@dataclass(frozen=True)
class Seen:
    """What a round was like: the longest read by file, of so many; how long the end took; the sizes of memory."""

    reads: int
    longest_s: dict[str, float]
    ended_s: float
    resident_bytes: list[int]

    @property
    def growth_bytes(self) -> int:
        """From the second quarter to the last."""
        quarter = max(1, len(self.resident_bytes) // 4)
        return int(
            statistics.median(self.resident_bytes[-quarter:])
            - statistics.median(self.resident_bytes[quarter : 2 * quarter])
        )


@pytest.fixture
def files() -> dict[str, bytes]:
    return model_files(3, 4 << 20)


@pytest.fixture
def hub(tmp_path: Path, files: dict[str, bytes]) -> Iterator[HostileHub]:
    (tmp_path / "hub").mkdir()
    with hostile_hub(tmp_path / "hub", gzipped(tar_of(files), level=1)) as hub:
        yield hub


@pytest.fixture
def victims_machine(machine: Machine, tmp_path: Path, hub: HostileHub) -> Machine:
    """netrc has a password for another host, and another user planted a model where all may write."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    planted = shared / hashlib.sha1(f"{hub.url}/{MISSING}".encode()).hexdigest()
    planted.mkdir()
    (planted / "saved_model.pb").write_bytes(b"planted")
    descriptor = planted.with_name(f"{planted.name}.descriptor.txt")
    descriptor.write_text(f"Module: {hub.url}/{MISSING}\n")
    for path in (planted, descriptor, *planted.iterdir()):
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
        else:
            path.chmod(0o777)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {hub.in_netrc.host.partition(':')[0]} login me password {PASSWORD}\n")
    netrc.chmod(0o600)
    return machine.with_environment(NETRC=str(netrc), TFHUB_CACHE_DIR=str(shared))


@contextmanager
def running(*command: str, count: int = 1) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Python programs, which are killed in the end; each is told its number."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", *command, *([str(number)] if count > 1 else [])], stdout=subprocess.PIPE
        )
        for number in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate(timeout=60)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def has_ended(pid: int) -> bool:
    """Whether it runs no more; whoever inherited it may look at that later."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def one_round(mount: Mount, hub: HostileHub, duration_s: float) -> Seen:
    """Reads beside those who read what is hostile, then SIGTERM while they still do."""
    (pid,) = mount.pids()
    paths = [str(mount.path / ".hubfs/version"), *(str(mount.path / GOOD / name) for name in ("saved_model.pb",))]
    paths.append(str(mount.path / GOOD / "variables/variables.data-00000-of-00001"))
    sizes = []
    with (
        running(VICTIM, str(mount.path), count=VICTIMS),
        running(PROBE, str(duration_s), *paths) as (probe,),
    ):
        deadline_s = time.monotonic() + duration_s + 30
        while probe.poll() is None:
            assert time.monotonic() < deadline_s, "a read of what is cached does not end"
            sizes.append(resident_bytes(pid))
            time.sleep(0.25)
        out, _ = probe.communicate()
        assert probe.returncode == 0
        assert not os.path.lexists(mount.path / MISSING), "a planted model is served"
        reads, longest_s = json.loads(out)
        began_s = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        assert eventually(lambda: has_ended(pid) and not is_mounted(mount.path))
        ended_s = time.monotonic() - began_s
    return Seen(reads, {Path(path).name: s for path, s in longest_s.items()}, ended_s, sizes)


def test_a_hub_that_does_its_worst_stops_nobody(
    victims_machine: Machine, tmp_path: Path, hub: HostileHub, files: dict[str, bytes], figures: Figures
) -> None:
    seen = []
    for number in range(ROUNDS):
        options = ("--cache-dir", tmp_path / "cache", "--memory-size", MEMORY, "--log-level", "DEBUG")
        with mounted(victims_machine, tmp_path / "mnt", hub.url, *options) as mount:
            for name, data in files.items():
                assert (mount.path / GOOD / name).read_bytes() == data
            seen.append(one_round(mount, hub, DURATION_S / ROUNDS))
            clear(mount.path)
        shutil.move(mount.log_file, tmp_path / f"log-{number}")
    logs = [path.read_bytes() for path in tmp_path.glob("log-*")]
    log_bytes_per_reply = sum(map(len, logs)) / hub.played.total()
    longest_line_bytes = max(len(line) for log in logs for line in log.splitlines())
    longest_s = max(max(one.longest_s.values()) for one in seen)
    figures.note(
        "hostile hub",
        duration_s=DURATION_S,
        replies=hub.played.total(),
        kinds=len(hub.played),
        reads=sum(one.reads for one in seen),
        longest_read_s=longest_s,
        longest_end_s=max(one.ended_s for one in seen),
        most_resident_mib=max(max(one.resident_bytes) for one in seen) >> 20,
        log_bytes_per_reply=log_bytes_per_reply,
        longest_line_bytes=longest_line_bytes,
    )
    assert set(hub.played) == set(PLAYS), "it did not play everything"
    assert not hub.untrusted.requests, "a host was believed that nobody vouches for"
    assert longest_s <= LONGEST_S, [one.longest_s for one in seen]
    assert max(one.ended_s for one in seen) <= TERMINATED_S, [one.ended_s for one in seen]
    assert max(one.growth_bytes for one in seen) <= GROWTH_BYTES, [one.growth_bytes >> 20 for one in seen]
    assert longest_line_bytes <= LINE_BYTES
    assert log_bytes_per_reply <= LOG_BYTES_PER_REPLY
    assert not any(PASSWORD.encode() in log for log in logs)
    told = hub.secrets_told()
    assert not told, f"{len(told)} requests brought a password, the first for {told[0]}"

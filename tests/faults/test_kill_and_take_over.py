"""The daemon of a supervised mount is killed again and again while readers hash a model: none of them notices."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conftest import SMALL, MountHub
from tests.mounted.test_lifecycle import told
from tests.support.figures import Figures, budget
from tests.support.files import files
from tests.support.mount import Mount
from tests.support.origin import Origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

READERS = 4
CHUNK_BYTES = 256 << 10
LIVES_S = (0.0, 1.0)
"""So long a daemon lives, once it answers, before it is killed."""


@dataclass
class Reader(threading.Thread):
    """Hashes the files of a model in turn until `over`, and looks at their names; the kernel keeps no page of them."""

    root: Path
    expected: dict[str, str]
    over: threading.Event
    models: int = 0
    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def __post_init__(self) -> None:
        super().__init__(name="reader", daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self._read_all()
            except OSError as error:  # noqa: PERF203 - a round ends with it, and the next one begins
                self.errors.append(repr(error))

    def _read_all(self) -> None:
        with self._timed():
            names = {
                str(Path(at, name).relative_to(self.root)) for at, _, found in os.walk(self.root) for name in found
            }
        if names != {*self.expected}:
            self.wrong.append(f"names: {names}")
        for name, digest in self.expected.items():
            hashed = sha256()
            with self._timed():
                file = (self.root / name).open("rb", buffering=0)
            with file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                offset = 0
                while chunk := self._read(file.fileno(), offset):
                    hashed.update(chunk)
                    offset += len(chunk)
            if hashed.hexdigest() != digest:
                self.wrong.append(name)
        self.models += 1

    def _read(self, fd: int, offset: int) -> bytes:
        with self._timed():
            return os.pread(fd, CHUNK_BYTES, offset)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("options", [(), ("--verify", "always")], ids=["passed through", "by the daemon"])
def test_readers_notice_no_kill(
    mount: MountHub, servers: Origin, small: Path, figures: Figures, options: tuple[str, ...]
) -> None:
    kills = int(budget("kills_taken_over", boxed=20, full=200) / 2)
    chance = random.Random(int(budget("crash_seed", boxed=5, full=5)))
    expected = {name: sha256(content).hexdigest() for name, content in files(small).items()}
    with mount(servers.asked_for("uncompressed"), "--supervise", *options) as hub:
        assert files(hub.path / SMALL) == files(small)  # what the network takes is another test's
        over = threading.Event()
        readers = [Reader(hub.path / SMALL, expected, over) for _ in range(READERS)]
        for reader in readers:
            reader.start()
        try:
            for number in range(kills):
                found = _answer(hub, number)
                time.sleep(chance.uniform(*LIVES_S))
                os.kill(found["pid"], signal.SIGKILL)
            _answer(hub, kills)
            before = [reader.models for reader in readers]
            assert eventually(lambda: all(r.models > b for r, b in zip(readers, before, strict=True)))
        finally:
            over.set()
            for reader in readers:
                reader.join(60)
        hanging = sum(reader.is_alive() for reader in readers)
    longest_s = max(reader.longest_s for reader in readers)
    figures.add(
        "taking over",
        kills=kills,
        errors=sum(len(reader.errors) for reader in readers),
        wrong=sum(len(reader.wrong) for reader in readers),
        hangs=hanging,
        models_hashed=sum(reader.models for reader in readers),
    )
    figures.note("taking over", **{f"longest_pause_{'by_the_daemon' if options else 'passed_through'}_s": longest_s})
    assert not hanging
    assert [error for reader in readers for error in reader.errors] == []
    assert [wrong for reader in readers for wrong in reader.wrong] == []


def _answer(hub: Mount, restarts: int) -> dict[str, int]:
    """What the daemon says that was started after so many others."""
    assert eventually(lambda: told(hub.path).get("restarts") == restarts)
    return told(hub.path)

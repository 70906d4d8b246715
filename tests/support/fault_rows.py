"""Tables of docs/SEMANTICS.md that say what readers get of a hub's own faults, executed by readers of a real mount."""

import errno
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.files import files
from tests.support.kaggle_replies import Fault
from tests.support.mount import Machine, Mount, mounted
from tests.support.paths import ROOT
from tests.support.waiting import eventually

SLACK_S = 60.0
"""Beyond its bound, a reader on a busy machine may take so much longer before it counts as hung."""

SMALL = "config.json"
RIGHT, ZIP = "right bytes", "the zip"
"""What readers get of a fault where it is no error."""

_PIECE_BYTES = 300_000


def table(head: str) -> Mapping[str, tuple[str, float]]:
    """What readers get, and within how many seconds, by the fault: of the table whose first line is `head`."""
    text = (ROOT / "docs" / "SEMANTICS.md").read_text(encoding="utf-8")
    rows = {}
    for line in text[text.index(head) :].split("\n\n", 1)[0].splitlines()[2:]:
        fault, cell, within = (each.strip().replace("`", "") for each in line.strip("|").split("|"))
        (seconds,) = re.fullmatch(r"(\d+) s", within).groups()  # type: ignore[union-attr]
        rows[fault] = cell, float(seconds)
    return rows


def read(path: Path, begun: Callable[[], None]) -> bytes | int:
    """The bytes of a file, read in pieces, or the number of the error. `begun` is called after the first piece."""
    try:
        with path.open("rb", buffering=0) as file:
            pieces = [file.read(_PIECE_BYTES)]
            begun()
            while pieces[-1]:
                pieces.append(file.read(_PIECE_BYTES))
            return b"".join(pieces)
    except OSError as error:
        return error.errno or 0


def is_told(mount: Mount, model: Path, paths: Sequence[str]) -> bool:
    """Whether the mount says what is wrong with a model, as long as it is.

    A model that failed is found anew after a while, and fails again once it is read.
    """

    def told() -> bool:
        for path in paths:
            read(model / path, lambda: None)
        return not mount.is_sound(model)

    return not os.path.lexists(model) or eventually(told)


def reads(model: Path, right: Mapping[str, bytes]) -> bool:
    try:
        return files(model) == right
    except OSError:
        return False


@dataclass
class Stage:
    """A model at a stand-in for its hub. `right` are the bytes that it has, the small file first.

    `expected` are the bytes that readers are to get of the fault, where these are others. `begun` is called by each
    reader of `paths` once it has read a piece.
    """

    hub: Any
    name: str
    right: dict[str, bytes]
    expected: Mapping[str, bytes] = field(default_factory=dict)
    begun: Callable[[], None] = lambda: None
    paths: Sequence[str] = ()

    def __post_init__(self) -> None:
        small, large = self.right
        self.paths = (small, large, large, small)

    def always(self, what: str, *faults: Fault) -> None:
        self.hub.script(what, *(faults * 500))

    def once_begun(self, do: Callable[[], object]) -> None:
        first = threading.Lock()

        def begun() -> None:
            if first.acquire(blocking=False):
                do()

        self.begun = begun


Case = Callable[[Any], None]


def always(what: str, fault: Fault) -> Case:
    return lambda stage: stage.always(what, fault)


def scripted(what: str, *faults: Fault) -> Case:
    return lambda stage: stage.hub.script(what, *faults)


def noise(fault: str, large: str) -> dict[str, bytes]:
    """A small file, and a large one of this name."""
    seeded = random.Random(fault)
    return {SMALL: seeded.randbytes(999), large: seeded.randbytes(5_200_000)}


@contextmanager
def impatient_mount(root: Path, hub: str, endpoint: Mapping[str, str]) -> Iterator[Mount]:
    """A mount of the hub that asks again soon after a failure."""
    ttls = {"HUBFS_NEGATIVE_TTL": "0.5s", "HUBFS_FAILURE_TTL": "0.5s", "HUBFS_FUSE_LIBRARY": "session"}
    with mounted(Machine(root / "machine", {**endpoint, **ttls}), root / "hub", hub, "-o", "negative_timeout=0") as it:
        yield it


def execute(
    row: tuple[str, float], stage: Stage, mount: Mount, root: Path, mend: Callable[[], None], count: Callable[..., None]
) -> None:
    """Has four readers read the model below `root`, whose fault was begun, and looks whether they get what `row` says.

    Once `mend` has taken the fault away, the model is to be read again. `count` is told what was met.
    """
    expected, within_s = row
    began_s = time.monotonic()
    with ThreadPoolExecutor(4) as readers:
        answers = readers.map(lambda path: read(root / path, stage.begun), stage.paths)
        got = [*zip(stage.paths, answers, strict=True)]
    took_s = time.monotonic() - began_s
    told = expected in {RIGHT, ZIP} or is_told(mount, root, stage.paths)
    mend()
    codes = {answer for _, answer in got if isinstance(answer, int)}
    count(injected=1, reads=len(got), **{f"errors_{errno.errorcode[code]}": 1 for code in codes})
    if expected in {RIGHT, ZIP}:
        wanted = stage.expected or stage.right
        assert all(answer == wanted[path] for path, answer in got), codes
    else:
        assert {errno.errorcode[code] for code in codes} == {expected}
        assert len([answer for _, answer in got if isinstance(answer, int)]) == len(got), "wrong bytes"
    assert told
    assert took_s < within_s + SLACK_S
    if expected != ZIP:  # which is cached
        assert eventually(lambda: reads(root, stage.right), timeout_s=SLACK_S), "the path did not work again"

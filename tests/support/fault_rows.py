"""Tables of docs/SEMANTICS.md that say what readers get of a hub's own faults, and such readers."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.files import files
from tests.support.mount import Mount
from tests.support.paths import ROOT
from tests.support.waiting import eventually

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

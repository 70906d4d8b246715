"""What TensorFlow's loaders want of a SavedModel, or of a TF1 Hub module: pure policy."""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

from hubfs.sources.prefetch.plan import Plan, Stage, Wants, files_in, folder_of, name_of, staged, tail_of
from hubfs.sources.source import Entry

_SHARD = re.compile(r"variables\.data-\d+-of-\d+")

_OPTIONAL = ("fingerprint.pb", "keras_metadata.pb")
"""What a loader reads after the variables, beside the assets."""

_PEEKING = "saved_model.pbtxt"
_LOADING = ("debug", "saved_model_debug_info.pb")


class Sign(IntEnum):
    """The sign that a lookup gives of a reader that opened `saved_model.pb`, or is about to.

    LOADING: TensorFlow's loaders look for the debug information right after reading the graph, before they import it.
    PEEKING: `saved_model_cli` does so as well, and reads no variables; but it looks for `saved_model.pbtxt` before
    anything else, which no loader does where there is a `saved_model.pb`.
    """

    PEEKING = 0
    LOADING = 1


def sign_of(path: str) -> Sign | None:
    """What a lookup of `path` tells; the kernel looks for `debug` alone where there is no such directory."""
    name = name_of(path)
    if name in _LOADING:
        return Sign.LOADING
    return Sign.PEEKING if name == _PEEKING else None


class SavedModel(Plan):
    """`saved_model.pb` was opened: the index of the variables, the tails of the data files, the tensors in the order
    of their offsets, and the optional files in the order of their places.
    """

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """At its opening."""
        return not read and name_of(path) == "saved_model.pb"

    def _learn(self, entries: Sequence[Entry]) -> None:
        folder, name = folder_of(self.begun_by), name_of(self.begun_by)
        files = files_in(entries, folder)
        ranges = [(name, range(files[name])), *_ranges(files)]
        self.wants = Wants(staged((folder + path, wanted) for path, wanted in ranges if wanted))

    def opened(self, path: str) -> None:
        """Opening a file in `variables/` shows that a loader is at work."""
        if path.startswith(f"{folder_of(self.begun_by)}variables/"):
            self.stage = Stage.FOLLOWED


def _ranges(files: Mapping[str, int]) -> Iterator[tuple[str, range]]:
    if "variables/variables.index" in files:
        yield "variables/variables.index", range(files["variables/variables.index"])
    shards = sorted(path for path in files if path.startswith("variables/") and _SHARD.fullmatch(name_of(path)))
    tails = {path: tail_of(files[path]) for path in shards}
    yield from tails.items()
    yield from ((path, range(tail.start)) for path, tail in tails.items())
    for path in files:
        if path in _OPTIONAL or path.startswith("assets/"):
            yield path, range(files[path])

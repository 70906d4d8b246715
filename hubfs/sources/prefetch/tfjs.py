"""What TensorFlow.js wants of a model: pure policy."""

import re
from collections.abc import Sequence

from hubfs.sources.prefetch.plan import Plan, Stage, Wants, by_numbers, files_in, folder_of, name_of, staged
from hubfs.sources.source import Entry

_SHARD = re.compile(r".*\.bin|group\d+-shard\d+of\d+")


class Tfjs(Plan):
    """`model.json` was opened: the shards in the order of their numbers, 10 after 9."""

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """At its opening."""
        return not read and name_of(path) == "model.json"

    def _learn(self, entries: Sequence[Entry]) -> None:
        folder, name = folder_of(self.begun_by), name_of(self.begun_by)
        files = files_in(entries, folder)
        paths = [name, *(path for path in sorted(files, key=by_numbers) if _SHARD.fullmatch(path))]
        self.wants = Wants(staged((folder + path, range(files[path])) for path in paths if files[path]))

    def opened(self, path: str) -> None:
        """Opening a shard shows that a loader is at work."""
        folder = folder_of(self.begun_by)
        if path.startswith(folder) and _SHARD.fullmatch(path.removeprefix(folder)):
            self.stage = Stage.FOLLOWED

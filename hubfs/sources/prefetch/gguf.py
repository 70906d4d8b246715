"""What loaders want of a GGUF file: pure policy."""

import re
from collections.abc import Sequence

from hubfs.formats.gguf import Header, read_header
from hubfs.sources.prefetch.plan import OVERRUN_BYTES, Look, Plan, Stage, Want, Wants, files_in, folder_of, name_of
from hubfs.sources.source import Entry

_SPLIT = re.compile(r"(.+-)\d{5}(-of-\d{5}\.gguf)")


class Gguf(Plan):
    """A file was read from its start: the whole of it, in order, once more than its header is read.

    Readers of the header alone (`gguf-dump`, file managers) pay for no more. Of a model in several files, those that
    follow the one that is read are wanted after it.
    """

    def __init__(self, begun_by: str) -> None:
        super().__init__(begun_by)
        self._reached_bytes = 0
        self._header: Header | None = None
        self._looked = False

    @classmethod
    def begins(cls, path: str, *, read: bool) -> bool:
        """At a read of its first bytes."""
        return read and path.endswith(".gguf")

    def _learn(self, entries: Sequence[Entry]) -> None:
        folder, name = folder_of(self.begun_by), name_of(self.begun_by)
        files = files_in(entries, folder)
        split = _SPLIT.fullmatch(name)
        names = [name]
        if split is not None:
            others = ((other, _SPLIT.fullmatch(other)) for other in files)
            names += sorted(other for other, it in others if it and it.groups() == split.groups() and other > name)
        self.wants = Wants(Want(folder + one, 0, files[one], Stage.FOLLOWED) for one in names if files[one])

    def read(self, path: str, offset_bytes: int, end_bytes: int) -> None:
        """The header is looked at once a reader went further than the kernel goes for a program that wants no more."""
        del path, offset_bytes
        self._reached_bytes = max(self._reached_bytes, end_bytes)
        if self._reached_bytes > OVERRUN_BYTES and not self._looked:
            self._looked = True
            self.looks.append(Look(self.begun_by, read_header))
        self._decide()

    def saw(self, look: Look, seen: object) -> None:
        """The header, or None for what is none: nothing is wanted then."""
        del look
        if isinstance(seen, Header):
            self._header = seen
            self._decide()
        else:
            self.wants.clear()

    def _decide(self) -> None:
        if self._header is not None and self._reached_bytes > self._header.data_bytes + OVERRUN_BYTES:
            self.stage = Stage.FOLLOWED

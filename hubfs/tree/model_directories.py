"""Paths in a model → its entries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

from hubfs.errors import NotADirectory
from hubfs.sources.source import Entry, EntryKind, Source

MOST_LISTED = 4
"""Of so many models, the last that were listed, it is kept what is in each directory: a list entry a file, and some
hundred bytes a directory, beside the entries that the source itself keeps."""


class ModelDirectories:
    """What is at a path of a source, and in a directory of it. May be called from several threads.

    Walking a whole model takes time in proportion to its entries: they are looked through once, and not for every
    directory again.
    """

    def __init__(self) -> None:
        self._children_of = lru_cache(MOST_LISTED)(children_of)

    def find(self, source: Source, inner: str) -> Entry:
        """The entry at `inner`, as `Source.find`; raises `NotADirectory` as soon as the path goes on below a file."""
        end = inner.find("/")
        while end >= 0:
            if source.find(inner[:end]).kind is not EntryKind.DIRECTORY:
                raise NotADirectory(f"{source.handle}/{inner[:end]} is a file, and {inner!r} is below it")
            end = inner.find("/", end + 1)
        return source.find(inner)

    def list(self, source: Source, inner: str) -> Sequence[Entry]:
        """The entries directly in the directory `inner` (empty: the model root), sorted; waits until all are known.

        Raises as `find`, and `NotADirectory` for a file; also what ended the source, though a part of it was kept.
        """
        if inner and self.find(source, inner).kind is not EntryKind.DIRECTORY:
            raise NotADirectory(f"{source.handle}/{inner}")
        children = self._children_of(source).get(inner, ())
        failure = source.failure
        if failure is not None:
            raise failure.with_traceback(None)  # raised again and again, it would keep every frame it passed
        return children


def children_of(source: Source) -> Mapping[str, Sequence[Entry]]:
    """All entries by the directory that they are in, sorted; a directory that is empty has none."""
    children: dict[str, list[Entry]] = defaultdict(list)
    for entry in source.entries():
        children[entry.path.rpartition("/")[0]].append(entry)
    return dict(children)

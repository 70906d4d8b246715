"""A model of an engine, to be read as a whole without a mount."""

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field

from hubfs.errors import Damaged, InvalidConfig, NoSuchAttribute, NotASymlink, quoted
from hubfs.sources.source import Source
from hubfs.tree.extended_attributes import ATTRIBUTES
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.node import NodeKind
from hubfs.waiting import Cancellation

_PIECE_BYTES = 4 << 20

_FILES_AT_ONCE = 4
"""Small files cost a round trip each; a large one is read over several connections by itself."""

_MOST_LINKS = 8


@dataclass(frozen=True)
class Thing:
    """A file, or a directory (`size_bytes` is None), by its path: of a model, or of this machine.

    `time_ns` counts for files. `place`: files that are read in the order of their places cost less.
    """

    size_bytes: int | None
    time_ns: int = 0
    place: int = field(default=0, compare=False)

    def is_like(self, other: "Thing | None") -> bool:
        """Whether `other` is of the same kind and size."""
        return other is not None and other.size_bytes == self.size_bytes


@dataclass(frozen=True)
class Model:
    """A model of `tree`: its absolute `path` there, and everything in it by relative path."""

    tree: HubTree
    path: str
    source: Source
    things: Mapping[str, Thing]

    @property
    def size_bytes(self) -> int:
        """The sizes of all its files together."""
        return sum(thing.size_bytes or 0 for thing in self.things.values())

    @property
    def stored_bytes(self) -> int:
        """The same without holes: so many bytes the cache keeps."""
        return self.source.extent.size_bytes

    @property
    def files(self) -> Sequence[str]:
        """Its files, in the order in which reading them costs least."""
        files = {path: thing for path, thing in self.things.items() if thing.size_bytes is not None}
        return sorted(files, key=lambda path: (files[path].place, path))

    def pieces(self, path: str, cancellation: Cancellation) -> Iterator[bytes]:
        """The bytes of a file, verified: the last piece comes once all are. Raises why they do not come."""
        opened = self.tree.open(f"{self.path}/{path}")
        try:
            blob = opened.blob
            for offset_bytes in range(0, blob.size_bytes, _PIECE_BYTES):
                cancellation.check()
                size_bytes = min(_PIECE_BYTES, blob.size_bytes - offset_bytes)
                piece = blob.read_at(offset_bytes, size_bytes)
                if len(piece) != size_bytes:
                    raise Damaged(f"{blob.key} ended {size_bytes - len(piece)} bytes before its announced size")
                yield piece
        finally:
            opened.release()


def model_at(tree: HubTree, path: str) -> Model:
    """The model at `path`, or where the symlinks there lead. Waits until everything in it is known.

    Raises what the hub answers, and `InvalidConfig` for a path above models.
    """
    path, source = source_at(tree, path)
    return Model(tree, path, source, dict(_things(tree, path)))


def source_at(tree: HubTree, path: str) -> tuple[str, Source]:
    """The path of the model at `path`, or where the symlinks there lead; and its source. Raises as `model_at`."""
    with suppress(NotASymlink):
        for _ in range(_MOST_LINKS):
            target = tree.readlink(path)
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    try:
        handle = tree.attribute(path, f"{ATTRIBUTES}handle")
    except NoSuchAttribute:
        raise InvalidConfig(f"{quoted(path.strip('/'))} is a folder of models: name one of them") from None
    return path, tree.models.get(tree.models.hub.names.parse(handle))


def _things(tree: HubTree, path: str) -> Iterator[tuple[str, Thing]]:
    """What is in a model, without its root."""
    folders = [""]
    while folders:
        folder = folders.pop()
        inside = f"{path}/{folder}".rstrip("/")
        for name, node in tree.nodes(inside, tree.list(inside)).items():
            inner = f"{folder}/{name}".lstrip("/")
            if node.kind is NodeKind.DIRECTORY:
                folders.append(inner)
                yield inner, Thing(None)
            else:
                yield inner, Thing(node.size_bytes, node.time_ns, node.place)


def side_by_side(work: Callable[[str], None], paths: Sequence[str], cancellation: Cancellation) -> None:
    """Does `work` for each path, a few at a time. What the first of them raises ends the others."""
    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="file") as pool:
        flights = [pool.submit(work, path) for path in paths]
        try:
            for flight in wait(flights, return_when=FIRST_EXCEPTION).done:
                flight.result()
        except BaseException:
            cancellation.cancel()
            raise

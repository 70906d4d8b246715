"""Paths of one hub → directories, files and their bytes. Knows neither FUSE nor errno."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic

from hubfs.blobs.blob import Blob, Prefetchable
from hubfs.blobs.stamp import UNDATED
from hubfs.cache.ahead import ReadAheadBlob
from hubfs.cache.block_cache import BlockCache, CacheKey, Release, TieredCache
from hubfs.cache.ranges import RangesBlob, passable
from hubfs.errors import (
    HubfsError,
    IsADirectory,
    NoSuchAttribute,
    NotADirectory,
    NotASymlink,
    NotFound,
)
from hubfs.hubs.names import Known
from hubfs.hubs.place import (
    Alias,
    Ambiguous,
    Folder,
    FolderOrAlias,
    InModel,
    Link,
    Links,
    Text,
)
from hubfs.model_id import ModelId
from hubfs.models.models import Models
from hubfs.models.troubles import Troubles, WatchedBlob
from hubfs.sources.prefetch.completer import Completer
from hubfs.sources.prefetch.prefetcher import Prefetcher
from hubfs.sources.source import ROOT, Entry, EntryKind, Source, key_of
from hubfs.tree.extended_attributes import ATTRIBUTES, ExtendedAttributes
from hubfs.tree.look_ahead import links_ahead, models_ahead
from hubfs.tree.model_directories import ModelDirectories
from hubfs.tree.node import DIRECTORY, Names, Node, NodeKind, names_of
from hubfs.tree.open_file import OpenFile, each_by_itself, text_file
from hubfs.tree.places import either, place_at
from hubfs.tree.times import time_ns

Whole = Callable[[CacheKey, int, float], int | None]
"""As `Backing`, of any file of the cache: its key, its size in bytes, and the patience in seconds."""


ReadAhead = Callable[[Blob], Blob]
"""Makes one reader's view of a blob."""

_WORTH_A_WAIT_BYTES = 64 << 20
"""Of a file that is so large, reading through the daemon costs more than the wait for the end of an archive that came:
0.7 ms a MiB."""


class HubTree:
    """The name space of one hub. Stateless but for its collaborators; every method may wait for a host, with a bound.

    Paths are absolute, from the hub's root on.

    A directory that could lead to a model exists without asking the hub; a model root exists if a catalogue says so, or
    the hub: it is asked once somebody looks inside.
    Looking a path up never lists, listing never looks up.
    """

    def __init__(
        self,
        models: Models,
        cache: BlockCache,
        *,
        read_ahead: ReadAhead,
        whole: Whole | None = None,
        completer: Completer | None = None,
        prefetcher: Prefetcher | None = None,
        troubles: Troubles | None = None,
        look_ahead: bool = False,
    ) -> None:
        self.models = self._models = models
        self._names = models.hub.names
        self._cache = cache
        self._read_ahead = read_ahead
        self._whole = whole
        self._completer = completer
        self._prefetcher = prefetcher
        self._troubles = troubles or Troubles()
        self._directories = ModelDirectories()
        self._attributes = ExtendedAttributes(models, cache, self._troubles)
        self._ahead = models_ahead(models, self._walked) if look_ahead else None
        self._links_ahead = links_ahead(models, self._walked) if look_ahead else None
        self.known = Known(
            models.known.children,
            models.known.versions,
            models.answers.children,
            models.answers.versions,
            lambda: [latest.name for latest in models.answers.asked()],
            models.answers.expected,
            models.answers.latest,
            self._handles,
            self._is_folder,
        )

    def watch(self, dropped: Callable[[str], None]) -> None:
        """Has `dropped` told the path of each model that failed, and is found anew."""
        self._models.on_dropped = lambda model: dropped(f"/{self._names.path(model.name, model.version)}")

    def _handles(self) -> list[str]:
        """The handles that are known: written down, found since the start, or cached. May ask the hub."""
        self._models.renew_names()
        return [*self._names.written(), *map(str, self._models.known.in_order())]

    def _is_folder(self, path: str) -> bool | None:
        """Whether there is a directory at a path; None where nothing is. Raises what kept the hub from answering."""
        try:
            return self.stat(path).kind is NodeKind.DIRECTORY
        except (NotFound, NotADirectory):
            return None

    def _walked(self) -> list[ModelId]:
        """The models that a program finds which walks the hub, as far as they are known without asking."""
        return [*map(self._names.parse, self._names.written()), *self._models.known.in_order()]

    def _is_written_down(self, handle: ModelId) -> bool:
        return self._models.found(handle) is None and self._models.is_written_down(handle)

    def _look_inside(self, handle: ModelId, *, lists: bool) -> Source:
        """The model, in which a reader looks something up, or `lists` what there is."""
        source = self._models.get(handle)
        if self._ahead is not None:
            self._ahead.looked(handle, inside=lists)
        return source

    def stat(self, path: str, *, opens: bool = False) -> Node:
        """What is at `path` (absolute, as FUSE gives it). `opens`: a directory there is opened, to look inside.

        Raises `NotFound`, `NotADirectory` for a path below a file, and what kept the hub from answering.
        """
        match place_at(self._models, path):
            case Folder() | Links():
                return DIRECTORY
            case Alias(name, prefix):
                # The hub is asked by a reader that follows the link, if any version is known: find(1) stats the link of
                # every model.
                version = self._models.answers.expected(name) or self._models.answers.latest(name)
                return Node(NodeKind.SYMLINK, len(prefix + version))
            case Link(target):
                return Node(NodeKind.SYMLINK, len(target))
            case Text(text):
                return Node(NodeKind.CONTROL, len(text))
            case InModel(handle, "") if not opens and self._is_written_down(handle):
                return _root_of(handle, None)
            case InModel(handle, inner):
                source = self._look_inside(handle, lists=opens)
                if self._prefetcher is not None:
                    self._prefetcher.looked_up(source, inner)
                entry = ROOT
                if inner:
                    with self._troubles.watching(str(handle), inner):
                        entry = self._directories.find(source, inner)
                return _node_of(entry, source)

    def list(self, path: str) -> Names:
        """The names in a directory, sorted, and what they are. In a model, waits until all entries are known."""
        match place_at(self._models, path):
            case Folder(segments):
                return self._list_folder(segments)
            case Links(links, folders):
                return names_of(folders=folders, links=links)
            case InModel(handle, inner):
                source = self._look_inside(handle, lists=True)
                with self._troubles.watching(str(handle), inner):
                    return [
                        (entry.path.rpartition("/")[2], _kind_of(entry))
                        for entry in self._directories.list(source, inner)
                    ]
            case _:
                raise NotADirectory(path)

    def nodes(self, path: str, names: Names) -> Mapping[str, Node]:
        """What `stat` would say of the `names` of a directory that was listed, as far as nobody has to be asked.

        Of a folder, these are the folders in it, links, and the models that were found since the start.
        """
        match place_at(self._models, path):
            case InModel(handle, inner):
                source = self._models.get(handle)
                entries = self._directories.list(source, inner)
                return {entry.path.rpartition("/")[2]: _node_of(entry, source) for entry in entries}
            case _:
                asked = (name for name, kind in names if kind is not NodeKind.CONTROL)
                known = ((name, self._known(f"{path.rstrip('/')}/{name}")) for name in asked)
                return {name: node for name, node in known if node is not None}

    def _known(self, path: str) -> Node | None:
        """What is at the path of a directory or link, as far as its name and what was found since the start tell."""
        try:
            place = self._names.place(path)
        except HubfsError:  # the lookup tells it
            return None
        if isinstance(place, FolderOrAlias):
            place = either(self._models, place, lambda name: self._models.answers.expected(name) is not None)
        match place:
            case Folder() | Links():
                return DIRECTORY
            case Link(target):
                return Node(NodeKind.SYMLINK, len(target))
            case Alias(name, prefix):
                version = self._models.answers.expected(name)
                return None if version is None else Node(NodeKind.SYMLINK, len(prefix + version))
            case InModel():
                candidates: Sequence[InModel] = (place,)
            case Ambiguous():
                candidates = place.candidates
            case _:
                return None
        roots = [candidate.handle for candidate in candidates if not candidate.inner]
        known = [(root, source) for root in roots if (source := self._models.found(root)) is not None]
        written = ((root, None) for root in roots if not known and self._models.is_written_down(root))
        return next((_root_of(root, source) for root, source in (*known, *written)), None)

    def open(self, path: str, *, foreseen: bool = True) -> OpenFile:
        """Opens a file for reading. The caller calls `release` when done.

        Not `foreseen`: the reader says itself which ranges it wants, and nothing else is fetched for its sake.
        """
        match place_at(self._models, path):
            case Text(text):
                return text_file(path, text)
            case InModel(handle, inner) if inner:
                source = self._models.get(handle)
                with self._troubles.watching(str(handle), inner):
                    entry = self._directories.find(source, inner)
                    if entry.kind is EntryKind.DIRECTORY:
                        raise IsADirectory(path)
                    blob = source.open(entry)
                if foreseen:
                    blob = self._read_ahead(blob)
                elif passable(blob):
                    blob = RangesBlob(blob)
                held = self._held(handle, source, entry)
                backing = partial(self._backing, source, entry)
                if isinstance(blob, ReadAheadBlob):
                    held = _both(partial(self._closed, source, entry, blob), held)
                watched = WatchedBlob(blob, self._troubles, str(handle), inner, partial(self._models.uses.read, handle))
                if foreseen and self._prefetcher is not None:
                    watched.follow, ended = self._prefetcher.opened(source, entry, self._complete)
                    held = _both(ended, held)
                plan = blob.plan if isinstance(blob, RangesBlob) else each_by_itself
                return OpenFile(watched, source, held, backing, plan)
            case _:
                raise IsADirectory(path)

    def hold(self, path: str) -> Release | None:
        """Has the model of the file at `path` count as in use until the release; None where nothing of it is kept."""
        match place_at(self._models, path):
            case InModel(handle, inner) if self._models.has(handle):
                source = self._models.get(handle)
                return self._held(handle, source, source.find(inner) if source.shared else ROOT)
        return None

    def _held(self, handle: ModelId, source: Source, entry: Entry) -> Release:
        held = _both(self._models.uses.begin(handle), self._cache.hold(source.model))
        return _both(held, self._cache.hold(entry.kept_in)) if entry.kept_in else held

    def _backing(self, source: Source, entry: Entry, patience_s: float) -> int | None:
        """Of a file with holes the cache keeps what is between them; of an archive, nothing is verified before all is.

        A model that failed is served no more.
        """
        if self._completer is not None:
            self._completer.is_wanted = True  # though it may be too early for this file
        if self._whole is None or entry.sparse is not None:
            return None
        if not source.complete and entry.size_bytes >= _WORTH_A_WAIT_BYTES:
            until_s = monotonic() + patience_s
            source.await_end(patience_s)
            patience_s = max(0.0, until_s - monotonic())
        if not source.complete or source.failure is not None:
            return None
        return self._whole(key_of(source, entry), entry.size_bytes, patience_s)

    def _closed(self, source: Source, entry: Entry, view: ReadAheadBlob) -> None:
        if view.was_read_in_order:
            self._complete(source, entry, view.whole)

    def _complete(self, source: Source, entry: Entry, blob: Prefetchable) -> None:
        """Has all of a file fetched and verified, so that the kernel reads it itself from the next opening on."""
        if self._completer is not None:
            backing, settle = partial(self._backing, source, entry), partial(self._settle, source, entry)
            self._completer.file(blob, backing, settle, partial(self._cache.hold, entry.kept_in or source.model))

    def _settle(self, source: Source, entry: Entry) -> None:
        if isinstance(self._cache, TieredCache):
            self._cache.settle(key_of(source, entry), entry.stored_bytes)

    def readlink(self, path: str) -> str:
        """The target of a symlink, relative. Raises `NotASymlink` for whatever else exists."""
        match place_at(self._models, path):
            case Alias(name, prefix):
                version = self._models.answers.latest(name)
                if self._links_ahead is not None:
                    self._links_ahead.looked(name)
                return prefix + version
            case Link(target):
                return target
        self.stat(path)
        raise NotASymlink(path)

    def attribute(self, path: str, name: str) -> str:
        """An extended attribute, `user.hubfs.*`: of a path in a model; of a directory above, what is wrong there.

        The cost does not grow with the model. Waits for the hub where nobody asked for the model before. Raises
        `NotFound` where there is no such model, `NoSuchAttribute`.
        """
        # Of names that are none of ours nobody is asked, and nothing looked for.
        value = self._attribute(path, name.removeprefix(ATTRIBUTES)) if name.startswith(ATTRIBUTES) else None
        if value is None:
            raise NoSuchAttribute(f"{path} has no attribute {name}")
        return value

    def _attribute(self, path: str, name: str) -> str | None:
        match place_at(self._models, path):
            case Folder(segments):
                return self._attributes.of_folder("/".join(segments), name)
            case InModel(handle, inner):
                return self._attributes.of_model(handle, inner, name)
        return None

    def _list_folder(self, segments: tuple[str, ...]) -> Names:
        self._models.renew_names()
        shown = self._names.shown(segments, self.known)
        return names_of(folders=shown.folders, links=shown.links, texts=shown.texts)


def _both(first: Release, second: Release) -> Release:
    def release() -> None:
        first()
        second()

    return release


def _kind_of(entry: Entry) -> NodeKind:
    return NodeKind.DIRECTORY if entry.kind is EntryKind.DIRECTORY else NodeKind.FILE


def _root_of(handle: ModelId, source: Source | None) -> Node:
    """A model root: its time is of the version alone, so that it is the same before anybody looked inside."""
    return Node(NodeKind.DIRECTORY, time_ns=time_ns(handle.version, UNDATED), source=source)


def _node_of(entry: Entry, source: Source) -> Node:
    if not entry.path:
        return _root_of(source.handle, source)
    stamp = source.stamp(entry.path)
    return Node(_kind_of(entry), entry.size_bytes, time_ns(source.handle.version, stamp), entry.place, source)

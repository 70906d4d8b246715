"""The name space against a reference: a dictionary of all paths of a made-up hub, and the rule for all others."""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from hubfs.errors import EntryNotFound, HubfsError, IsADirectory, NotADirectory, NotASymlink, NotFound
from hubfs.hubs.tfhub.names.catalogue import CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.file import to_json_lines
from hubfs.hubs.tfhub.names.handle import MAX_SEGMENTS
from hubfs.tree.node import NodeKind
from hubfs.tree.virtual_tree import VirtualTree
from tests.properties.kit import examples
from tests.support.archives import directories_of, tar_of
from tests.support.streams import Desk
from tests.support.tree_hub import TreeHub, attributes_of

DIRECTORY, FILE, SYMLINK, CONTROL = NodeKind.DIRECTORY, NodeKind.FILE, NodeKind.SYMLINK, NodeKind.CONTROL

MODEL_FILES = {"lite-model": "model.tflite", "tfjs-model": "model.json", "coral-model": "model.tflite"}
KINDS = {
    "": CatalogKind.MODULE,
    "lite-model": CatalogKind.LITE,
    "tfjs-model": CatalogKind.TFJS,
    "coral-model": CatalogKind.CORAL,
}
FILES = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index" * 5,
    "1/2/3": b"numbers",
    "model.json": b"{}",
    "naïve .txt": b"",
    "latest": b"a file",
}

PUBLISHERS = ["google", "a-1"]
NAMES = ["spice", "v2.1", "2x", "my_model", "deeper"]
VERSIONS = ["1", "2", "10", "400"]


@dataclass(frozen=True)
class World:
    """`models` by handle: their paths. `documented`: of names; `collections`: their members. Catalogued or not."""

    models: Mapping[str, Mapping[str, bytes]]
    catalogued: bool
    documented: frozenset[str] = frozenset()
    collections: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def entries(self) -> list[CatalogEntry]:
        entries = []
        for handle in self.models:
            name = handle.rpartition("/")[0]
            text = f"# {name}" if name in self.documented else None
            kind = handle.split("/")[1]
            entries.append(CatalogEntry(KINDS.get(kind, CatalogKind.MODULE), handle, documentation=text))
        entries += [
            CatalogEntry(CatalogKind.COLLECTION, path, members=tuple(members))
            for path, members in self.collections.items()
        ]
        return [*entries, CatalogEntry(CatalogKind.PLACEHOLDER, "google/placeholder/1")]


@st.composite
def handles(draw: st.DrawFn) -> str:
    publisher, kind = draw(st.sampled_from(PUBLISHERS)), draw(st.sampled_from(list(KINDS)))
    numbers = VERSIONS if kind else []  # typed names may have numbers inside
    name = draw(st.lists(st.sampled_from(NAMES + numbers), min_size=1, max_size=3))
    if kind and name[0] in VERSIONS:
        name[0] = "spice"
    return "/".join(filter(None, [publisher, kind, *name, draw(st.sampled_from(VERSIONS))]))


def disjoint(found: Sequence[str]) -> bool:
    """No model lies in another."""
    return not any(f"{one}/".startswith(f"{other}/") for one in found for other in found if one != other)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    found = draw(st.lists(handles(), min_size=1, max_size=6, unique=True).filter(disjoint))
    models = {handle: draw(st.sampled_from([FILES, {"saved_model.pb": handle.encode()}])) for handle in found}
    if not draw(st.booleans()):
        return World(models, catalogued=False)
    names = [handle.rpartition("/")[0] for handle in found]
    collections = {}
    if draw(st.booleans()):
        collections["google/collection/pitch"] = draw(st.lists(st.sampled_from(found), unique=True))
    return World(models, True, frozenset(draw(st.lists(st.sampled_from(names)))), collections)


class Reference:
    """What is where, spelled out."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nodes: dict[str, NodeKind] = {"": DIRECTORY, ".hubfs": DIRECTORY, ".hubfs/tfhub_modules": DIRECTORY}
        self.nodes |= {".hubfs/version": CONTROL, ".hubfs/status.json": CONTROL}
        self.bytes: dict[str, bytes] = {}
        self.targets: dict[str, str] = {}
        self.roots = set(world.models)
        for handle, files in world.models.items():
            self._add(handle, DIRECTORY)
            self._add_latest(handle)
            for path in directories_of(files):
                self._add(f"{handle}/{path}", DIRECTORY)
            for path, data in files.items():
                self._add(f"{handle}/{path}", FILE)
                self.bytes[f"{handle}/{path}"] = data
        for name in world.documented:
            self.nodes[f"{name}/README.md"] = CONTROL
            self.bytes[f"{name}/README.md"] = f"# {name}".encode()
        for path, members in world.collections.items():
            self._add(path, DIRECTORY)
            for member in sorted(members):
                link = f"{path}/{member.replace('/', '_')}"
                while link in self.targets:
                    link += "_"
                self.nodes[link] = SYMLINK
                self.targets[link] = "../" * 3 + member

    def _add(self, path: str, kind: NodeKind) -> None:
        self.nodes[path] = kind
        for parent in directories_of([path]):
            self.nodes.setdefault(parent, DIRECTORY)

    def _add_latest(self, handle: str) -> None:
        name, _, version = handle.rpartition("/")
        link = f"{name}/latest"
        self.nodes[link] = SYMLINK
        self.targets[link] = max(version, self.targets.get(link, "0"), key=int)

    def root_of(self, path: str) -> str | None:
        """The model that a path is in."""
        return next((root for root in self.roots if f"{path}/".startswith(f"{root}/")), None)

    def kind(self, path: str) -> NodeKind | None:
        """What is at a path (without slashes around it); None if nothing is."""
        if path in self.nodes or self.root_of(path):
            return self.nodes.get(path)
        return DIRECTORY if self._could_lead_to_a_model(path.split("/")) else None

    def _could_lead_to_a_model(self, segments: list[str]) -> bool:
        if not re.fullmatch(r"[a-z0-9-]{1,255}", segments[0]) or len(segments) > MAX_SEGMENTS:
            return False
        if not all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}", segment) for segment in segments[1:]):
            return False
        if segments[1:2] == ["collection"]:
            return False  # only the catalogue has those
        kind = segments[1] if segments[1:2] and segments[1] in MODEL_FILES else ""
        first = 3 if kind else 2  # where versions may be
        if segments[-1] in ("latest", "README.md") and len(segments) > first:
            return False  # it would be known
        numbers = any(re.fullmatch("[0-9]+", segment) for segment in segments[first:])
        if not numbers:
            return True
        return bool(kind) and not self.world.catalogued and segments[-1] != MODEL_FILES[kind]


@contextmanager
def tree_of(world: World) -> Iterator[VirtualTree]:
    archives = {handle: tar_of(files) for handle, files in world.models.items()}
    desk = Desk()
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "catalogue.jsonl"
        catalog.write_text(to_json_lines(world.entries()))
        try:
            yield TreeHub(desk, archives, catalog=catalog if world.catalogued else None).tree
        finally:
            desk.close()


HOSTILE = [".", "..", "...", "-", "_", "a b", "²", "\u0661", "\0", "\x1b[31m", "\n", "\udcff", "Google", ".git", "é"]
LONG = ["x" * 255, "x" * 256, "9" * 5000, "0" * 40, "a" * 40]
KNOWN = [*PUBLISHERS, *NAMES, *VERSIONS, *MODEL_FILES, *MODEL_FILES.values(), "pitch", "variables", "variables.index"]
SPECIAL = ["latest", "README.md", "collection", "saved_model.pb", "3", ".hubfs", "version", "tfhub_modules"]
SEGMENTS = st.one_of(st.sampled_from(KNOWN + SPECIAL), st.sampled_from(HOSTILE + LONG), st.text(max_size=5))


@st.composite
def paths(draw: st.DrawFn, reference: Reference) -> str:
    """Of what is there, of what is nearly there, and of anything."""
    how = draw(st.integers(0, 9))
    segments = draw(st.sampled_from(sorted(reference.nodes))).split("/")
    if how >= 4:
        place = draw(st.integers(0, len(segments)))
        if how < 6:
            segments.insert(place, draw(SEGMENTS))
        elif how < 8:
            segments[place : place + 1] = draw(st.lists(SEGMENTS, max_size=2))
        elif how == 8:
            segments = draw(st.lists(SEGMENTS, max_size=6))
        else:
            segments += [draw(SEGMENTS)] * draw(st.sampled_from([20, 300, 2000]))
    slash = draw(st.sampled_from(["/", "//"]))
    return "/" + slash.join(segments) + draw(st.sampled_from(["", "/"]))


def kind_at(tree: VirtualTree, path: str) -> NodeKind | None:
    try:
        return tree.stat(path).kind
    except (NotFound, NotADirectory):  # any other error fails
        return None


@examples()
@given(data=st.data(), world=worlds())
def test_whatever_is_asked_the_tree_says_what_the_reference_says(data: st.DataObject, world: World) -> None:
    reference = Reference(world)
    with tree_of(world) as tree:
        for path in data.draw(st.lists(paths(reference), min_size=5, max_size=25)):
            plain = "/".join(filter(None, path.split("/")))
            kind = reference.kind(plain)
            event(f"{kind}")
            assert kind_at(tree, path) == kind, path
            check_open(tree, reference, path, plain, kind)
            check_readlink(tree, reference, path, plain, kind)
            check_attributes(tree, reference, path, plain, kind)
            check_list(tree, reference, path, plain, kind)


def check_open(tree: VirtualTree, reference: Reference, path: str, plain: str, kind: NodeKind | None) -> None:
    if kind in (FILE, CONTROL):
        opened = tree.open(path)
        data = opened.blob.read_at(0, 1 << 20)
        assert len(data) == opened.blob.size_bytes == tree.stat(path).size_bytes
        if plain in reference.bytes:
            assert data == reference.bytes[plain]
        opened.release()
    else:
        with pytest.raises((IsADirectory, NotADirectory, NotFound) if kind is None else IsADirectory):
            tree.open(path)


def check_readlink(tree: VirtualTree, reference: Reference, path: str, plain: str, kind: NodeKind | None) -> None:
    if kind is SYMLINK:
        assert tree.readlink(path) == reference.targets[plain]
    else:
        with pytest.raises((NotFound, NotADirectory) if kind is None else NotASymlink):
            tree.readlink(path)


def check_attributes(tree: VirtualTree, reference: Reference, path: str, plain: str, kind: NodeKind | None) -> None:
    root = reference.root_of(plain)
    try:
        attributes = attributes_of(tree, path)
    except NotFound:
        assert kind is None
        return
    if root is None:
        assert attributes == {}
    else:
        assert attributes["user.hubfs.handle"] == root
        assert "user.hubfs.error" not in attributes


def check_list(tree: VirtualTree, reference: Reference, path: str, plain: str, kind: NodeKind | None) -> None:
    if kind is not DIRECTORY:
        with pytest.raises((NotADirectory, NotFound)):
            tree.list(path)
        return
    listed = tree.list(path)
    names = [name for name, _ in listed]
    assert names == sorted(set(names))
    for name, listed_kind in listed:
        assert reference.kind(f"{plain}/{name}" if plain else name) == listed_kind
    below = {
        known.removeprefix(f"{plain}/" if plain else "")
        for known in reference.nodes
        if known.startswith(f"{plain}/" if plain else "") and known
    }
    there = {name for name in below if "/" not in name}
    if reference.root_of(plain) or (reference.world.catalogued and plain != ".hubfs"):
        assert set(names) == there, "all that is known is listed, and nothing else"


@examples()
@given(path=st.text(max_size=60).map(lambda text: f"/{text}"), world=worlds())
def test_no_path_at_all_raises_anything_else_than_our_errors(path: str, world: World) -> None:
    with tree_of(world) as tree:
        for ask in (tree.stat, tree.list, tree.open, tree.readlink, lambda path: attributes_of(tree, path)):
            with contextlib.suppress(HubfsError):
                ask(path)
        with pytest.raises(HubfsError):
            tree.attribute(path, "user.hubfs.nothing")


def test_the_reference_knows_what_is_not_there() -> None:
    world = World({"google/tfjs-model/spice/2/default/1": FILES, "google/spice/2": FILES}, catalogued=False)
    with tree_of(world) as tree:
        with pytest.raises(EntryNotFound):
            tree.stat("/google/spice/2/nothing")
        assert Reference(world).kind("google/spice/2/nothing") is None
        assert Reference(world).kind("google/tfjs-model/spice/2") is DIRECTORY
        assert Reference(world).kind("google/spice/3") is None

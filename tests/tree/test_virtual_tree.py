from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hubfs.blobs.blob import Blob
from hubfs.cache.block_cache import Release
from hubfs.cache.memory import MemoryTier
from hubfs.errors import (
    AccessDenied,
    Damaged,
    EntryNotFound,
    HubfsError,
    IsADirectory,
    ModelNotFound,
    NoSuchAttribute,
    NotADirectory,
    NotASymlink,
    NotFound,
    Unavailable,
)
from hubfs.hub.handle import Handle
from hubfs.hub.resolver import Form, Location
from hubfs.sources.archive import ArchiveSource
from hubfs.sources.models import Models, ModelsSettings
from hubfs.tree.virtual_tree import Node, NodeKind, VirtualTree
from tests.support.archives import gzipped, model_files, tar_of
from tests.support.streams import HUB, MIB, Desk

FILES = model_files()
ARCHIVES = {
    "google/spice/2": gzipped(tar_of(FILES)),
    "google/spice/10": tar_of({"saved_model.pb": b"ten"}),
    "google/spice/deeper/name/1": tar_of({"1/2/3": b"numbers"}),
    "broken/model/1": gzipped(tar_of(FILES))[:-4],
}
DIRECTORY = Node(NodeKind.DIRECTORY)


class Holds(MemoryTier):
    """Knows who holds what."""

    def __init__(self) -> None:
        super().__init__(64 * MIB)
        self.held: list[str] = []

    def hold(self, model: str) -> Release:
        self.held.append(model)
        return lambda: self.held.remove(model)


class Hub:
    """A resolver of ARCHIVES, and a tree of what it has."""

    hub = HUB

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.asked: list[str] = []
        self.trouble: dict[str, HubfsError] = {"private/model/1": AccessDenied(f"{HUB}/private/model/1: 403")}
        self.on_disk: list[str] = []
        self.cache = Holds()
        self.read_ahead: list[Blob] = []
        self.status = b"{}"
        self.now_s = 0.0
        models = Models(
            self,
            openers={Form.COMPRESSED: self.open},
            loaders={},
            load_index=lambda _: None,
            known_on_disk=lambda _: iter(self.on_disk),
            cancellation=desk.cancellation,
            settings=ModelsSettings(),
            timer=lambda: self.now_s,
        )
        self.tree = VirtualTree(
            models,
            self.cache,
            read_ahead=self.view,
            controls={"status.json": lambda: self.status, "version": lambda: b"0.1.0\n"},
        )

    def resolve(self, handle: Handle, form: Form | None = None) -> Location:
        self.asked.append(str(handle))
        if str(handle) in self.trouble:
            raise self.trouble[str(handle)]
        if str(handle) not in ARCHIVES:
            raise ModelNotFound(f"{HUB}/{handle}: no such model")
        return Location(f"{HUB}/{handle}", Form.COMPRESSED)

    def open(self, handle: Handle, location: Location) -> ArchiveSource:
        stream = self.desk.stream(ARCHIVES[str(handle)])
        collaborators = self.desk.collaborators(stream, self.cache)
        return ArchiveSource(handle, location.url, f"{handle}@v1", "v1", **collaborators)

    def view(self, blob: Blob) -> Blob:
        self.read_ahead.append(blob)
        return blob


@pytest.fixture
def hub() -> Iterator[Hub]:
    desk = Desk()
    yield Hub(desk)
    desk.close()


@pytest.fixture
def tree(hub: Hub) -> VirtualTree:
    return hub.tree


@pytest.mark.parametrize(
    "path", ["/", "/google", "/google/spice", "/google/spice/deeper", "/nobody/knows/this", "/a/1", "//google//spice/"]
)
def test_a_directory_that_could_lead_to_a_model_exists_without_asking(hub: Hub, tree: VirtualTree, path: str) -> None:
    assert tree.stat(path) == DIRECTORY
    tree.list(path)
    assert tree.attributes(path) == {}
    with pytest.raises(IsADirectory):
        tree.open(path)
    assert not hub.asked


@pytest.mark.parametrize(
    "path",
    [
        "/.git",
        "/.hubfs2",
        "/.Trash-0/x/1",
        "/autorun.inf",
        "/Google/spice/2",
        "/google/.hidden/2",
        "/google/spice!/2",
        "/google/spice/.git",
        "/google/sp ice/2",
        "/google/spice/ü",
        "/under_score",
        "/google/a\0b",
        "/google/\udcff/1",
        "/google/spice/@eaDir/1/x",
    ],
)
def test_a_name_that_no_hub_has_costs_no_question(hub: Hub, tree: VirtualTree, path: str) -> None:
    questions: list[Callable[[str], Any]] = [tree.stat, tree.list, tree.open, tree.readlink, tree.attributes]
    for question in questions:
        with pytest.raises(EntryNotFound):
            question(path)
    assert not hub.asked


def test_a_model_root_exists_if_the_hub_says_so(hub: Hub, tree: VirtualTree) -> None:
    assert tree.stat("/google/spice/2") == DIRECTORY
    for question in (tree.stat, tree.list, tree.attributes):
        with pytest.raises(ModelNotFound):
            question("/google/spice/3")
    with pytest.raises(ModelNotFound):
        tree.stat("/google/spice/3/saved_model.pb")
    assert hub.asked == ["google/spice/2", "google/spice/3"]


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("/google/spice/2/saved_model.pb", Node(NodeKind.FILE, len(FILES["saved_model.pb"]))),
        ("/google/spice/2/assets/empty.txt", Node(NodeKind.FILE, 0)),
        ("/google/spice/2/variables", DIRECTORY),
        ("/google/spice/2/variables/", DIRECTORY),
        ("/google/spice/deeper/name/1/1", DIRECTORY),
        ("/google/spice/deeper/name/1/1/2/3", Node(NodeKind.FILE, 7)),
    ],
)
def test_entries_of_a_model_are_what_the_archive_holds(tree: VirtualTree, path: str, node: Node) -> None:
    assert tree.stat(path) == node


@pytest.mark.parametrize(
    "path", ["/google/spice/2/tfhub_module.pb", "/google/spice/2/x/y", "/google/spice/2/variables/.x"]
)
def test_what_the_archive_does_not_hold_does_not_exist(tree: VirtualTree, path: str) -> None:
    for question in (tree.stat, tree.list, tree.open, tree.readlink):
        with pytest.raises(EntryNotFound):
            question(path)


@pytest.mark.parametrize(
    "path", ["/google/spice/2/saved_model.pb/x", "/google/spice/2/assets/vocab.txt/x/y", "/.hubfs/version/x"]
)
def test_a_path_that_goes_on_below_a_file_meets_no_directory(tree: VirtualTree, path: str) -> None:
    for question in (tree.stat, tree.list, tree.open, tree.readlink):
        with pytest.raises(NotADirectory):
            question(path)


def test_listings_name_what_is_directly_below(hub: Hub, tree: VirtualTree) -> None:
    directory, file = NodeKind.DIRECTORY, NodeKind.FILE
    assert tree.list("/google/spice/2") == [
        ("assets", directory),
        ("fingerprint.pb", file),
        ("saved_model.pb", file),
        ("variables", directory),
    ]
    assert tree.list("/google/spice/2/variables/") == [
        ("variables.data-00000-of-00001", file),
        ("variables.index", file),
    ]
    assert tree.list("/google/spice/deeper/name/1/1") == [("2", directory)]
    for path in ("/google/spice/2/saved_model.pb", "/.hubfs/version"):
        with pytest.raises(NotADirectory):
            tree.list(path)


def test_above_the_models_a_listing_names_what_is_known(hub: Hub, tree: VirtualTree) -> None:
    assert tree.list("/") == [(".hubfs", NodeKind.DIRECTORY)]
    tree.stat("/google/spice/10")
    with pytest.raises(ModelNotFound):
        tree.stat("/google/other/10")
    hub.on_disk = ["google/spice/deeper/name/1", "deepmind/biggan/7"]
    names = {path: [name for name, kind in tree.list(path)] for path in ("/", "/google", "/google/spice", "/nobody")}
    assert names == {
        "/": [".hubfs", "deepmind", "google"],
        "/google": ["spice"],
        "/google/spice": ["10", "deeper"],
        "/nobody": [],
    }
    assert hub.asked == ["google/spice/10", "google/other/10"]


def test_looking_up_never_lists(tree: VirtualTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ArchiveSource, "entries")
    assert tree.stat("/google/spice/2/variables/variables.index").size_bytes == 777
    with pytest.raises(EntryNotFound):
        tree.stat("/google/spice/2/nothing")
    tree.open("/google/spice/2/saved_model.pb").release()


def test_listing_never_looks_up_what_it_lists(tree: VirtualTree, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up = []
    find = ArchiveSource.find

    def counted(source: ArchiveSource, path: str) -> Any:
        looked_up.append(path)
        return find(source, path)

    monkeypatch.setattr(ArchiveSource, "find", counted)
    tree.list("/google/spice/2")
    assert looked_up == []
    tree.list("/google/spice/2/variables")
    assert looked_up == ["", "variables"]


def test_an_open_file_reads_and_is_held_until_it_is_released(hub: Hub, tree: VirtualTree) -> None:
    tree.list("/google/spice/2")
    hub.cache.held.clear()
    first, second = (tree.open("/google/spice/2/assets/vocab.txt") for _ in range(2))
    assert first.blob.read_at(0, 1 << 20) == FILES["assets/vocab.txt"]
    assert len(hub.read_ahead) == 2
    assert first.pages_of is second.pages_of is not None
    assert hub.cache.held == 2 * ["google/spice/2@v1"]
    first.release()
    second.release()
    assert not hub.cache.held


@pytest.mark.parametrize("path", ["/google/spice/2", "/google/spice/2/variables", "/.hubfs"])
def test_a_directory_cannot_be_opened_as_a_file(tree: VirtualTree, path: str) -> None:
    with pytest.raises(IsADirectory):
        tree.open(path)


@pytest.mark.parametrize(
    "path", ["/", "/google", "/google/spice/2", "/google/spice/2/saved_model.pb", "/.hubfs/version"]
)
def test_there_are_no_symlinks(tree: VirtualTree, path: str) -> None:
    with pytest.raises(NotASymlink):
        tree.readlink(path)


def test_controls_are_made_when_they_are_asked_for(hub: Hub, tree: VirtualTree) -> None:
    assert tree.stat("/.hubfs") == DIRECTORY
    assert tree.list("/.hubfs") == [("status.json", NodeKind.CONTROL), ("version", NodeKind.CONTROL)]
    assert tree.stat("/.hubfs/version") == Node(NodeKind.CONTROL, 6)
    file = tree.open("/.hubfs/status.json")
    hub.status = b'{"a": 1}'
    again = tree.open("/.hubfs/status.json")
    assert (file.blob.read_at(0, 100), again.blob.read_at(0, 100)) == (b"{}", b'{"a": 1}')
    assert tree.stat("/.hubfs/status.json").size_bytes == 8
    assert file.pages_of is None
    file.release()
    assert tree.attributes("/.hubfs/status.json") == {}
    for question in (tree.stat, tree.list, tree.open):
        with pytest.raises(EntryNotFound):
            question("/.hubfs/nothing")
    assert not hub.asked


def test_attributes_of_a_healthy_model(tree: VirtualTree) -> None:
    tree.list("/google/spice/2")
    expected = {
        "user.hubfs.handle": "google/spice/2",
        "user.hubfs.url": f"{HUB}/google/spice/2",
        "user.hubfs.form": "compressed",
        "user.hubfs.cached_bytes": str(sum(map(len, FILES.values()))),
    }
    assert tree.attributes("/google/spice/2") == expected
    assert tree.attributes("/google/spice/2/saved_model.pb") == expected
    assert tree.attribute("/google/spice/2", "user.hubfs.form") == "compressed"


def test_a_damaged_model_says_why_until_it_is_fetched_anew(
    hub: Hub, tree: VirtualTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Damaged):
        tree.list("/broken/model/1")
    assert tree.stat("/broken/model/1") == DIRECTORY
    assert "ended early" in tree.attribute("/broken/model/1", "user.hubfs.error")
    for path in ("/broken/model/1/saved_model.pb", "/broken/model/1/assets/vocab.txt"):
        for ask in (tree.stat, tree.open):
            with pytest.raises(Damaged, match=f"{HUB}/broken/model/1"):
                ask(path)
    monkeypatch.setitem(ARCHIVES, "broken/model/1", ARCHIVES["google/spice/2"])
    hub.now_s += 31
    assert len(tree.list("/broken/model/1")) == 4
    with pytest.raises(NoSuchAttribute):
        tree.attribute("/broken/model/1", "user.hubfs.error")


def test_a_model_that_cannot_be_had_says_why(hub: Hub, tree: VirtualTree) -> None:
    hub.trouble["google/spice/2"] = Unavailable(f"{HUB}: no route")
    for path, reason, kind in (
        ("/private/model/1", "403", AccessDenied),
        ("/google/spice/2/x", "no route", Unavailable),
    ):
        with pytest.raises(kind):
            tree.stat(path)
        assert set(tree.attributes(path)) == {"user.hubfs.handle", "user.hubfs.error"}
        assert reason in tree.attribute(path, "user.hubfs.error")
    hub.trouble.clear()
    assert "user.hubfs.error" not in tree.attributes("/google/spice/2")


def test_a_missing_model_has_no_attributes(tree: VirtualTree) -> None:
    with pytest.raises(NotFound):
        tree.attribute("/google/spice/3", "user.hubfs.url")


@pytest.mark.parametrize("name", ["security.selinux", "security.capability", "system.posix_acl_access", "user.other"])
def test_attributes_of_others_are_answered_without_looking(hub: Hub, tree: VirtualTree, name: str) -> None:
    with pytest.raises(NoSuchAttribute):
        tree.attribute("/google/spice/2", name)
    assert not hub.asked


def test_an_attribute_that_is_not_there_is_said_to_be_missing(tree: VirtualTree) -> None:
    for name in ("user.hubfs.error", "user.hubfs.nothing"):
        with pytest.raises(NoSuchAttribute, match=name):
            tree.attribute("/google/spice/2", name)

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from hubfs.blobs.sparse import SparseMap
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import (
    AccessDenied,
    Damaged,
    EntryNotFound,
    IsADirectory,
    ModelNotFound,
    NoSuchAttribute,
    NotADirectory,
    NotASymlink,
    NotFound,
    Unavailable,
)
from hubfs.sources.archive.source import ArchiveSource
from hubfs.sources.source import Entry
from hubfs.tree.node import Node, NodeKind
from hubfs.tree.virtual_tree import VirtualTree
from tests.support.archives import gzipped, model_files, tar_of
from tests.support.streams import HUB, Desk
from tests.support.tree_hub import TreeHub, attributes_of

FILES = model_files()
ARCHIVES = {
    "google/spice/2": gzipped(tar_of(FILES)),
    "google/spice/10": tar_of({"saved_model.pb": b"ten"}),
    "google/spice/deeper/name/1": tar_of({"1/2/3": b"numbers"}),
    "broken/model/1": gzipped(tar_of(FILES))[:-4],
}
DIRECTORY = Node(NodeKind.DIRECTORY)


@pytest.fixture
def hub() -> Iterator[TreeHub]:
    desk = Desk()
    hub = TreeHub(desk, ARCHIVES)
    hub.trouble["private/model/1"] = AccessDenied(f"{HUB}/private/model/1: 403")
    yield hub
    desk.close()


@pytest.fixture
def tree(hub: TreeHub) -> VirtualTree:
    return hub.tree


@pytest.mark.parametrize(
    "path", ["/", "/google", "/google/spice", "/google/spice/deeper", "/nobody/knows/this", "/a/1", "//google//spice/"]
)
def test_a_directory_that_could_lead_to_a_model_exists_without_asking(
    hub: TreeHub, tree: VirtualTree, path: str
) -> None:
    assert tree.stat(path) == DIRECTORY
    assert attributes_of(tree, path) == {}
    with pytest.raises(IsADirectory):
        tree.open(path)
    assert not hub.asked
    tree.list(path)
    assert not [question for question in hub.asked if not question.startswith("versions ")]


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
def test_a_name_that_no_hub_has_costs_no_question(hub: TreeHub, tree: VirtualTree, path: str) -> None:
    questions: list[Callable[[str], Any]] = [
        tree.stat,
        tree.list,
        tree.open,
        tree.readlink,
        partial(attributes_of, tree),
    ]
    for question in questions:
        with pytest.raises(EntryNotFound):
            question(path)
    assert not hub.asked


def test_a_model_root_exists_if_the_hub_says_so(hub: TreeHub, tree: VirtualTree) -> None:
    assert tree.stat("/google/spice/2") == DIRECTORY
    for question in (tree.stat, tree.list, partial(attributes_of, tree)):
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


def test_listings_name_what_is_directly_below(hub: TreeHub, tree: VirtualTree) -> None:
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


def test_above_the_models_a_listing_names_what_is_known(hub: TreeHub, tree: VirtualTree) -> None:
    assert tree.list("/") == [(".hubfs", NodeKind.DIRECTORY)]
    tree.stat("/google/spice/10")
    with pytest.raises(ModelNotFound):
        tree.stat("/google/other/10")
    hub.on_disk = ["google/spice/deeper/name/1", "deepmind/biggan/7"]
    hub.now_s += 11  # another mount cached these: the disk is looked at again
    names = {path: [name for name, kind in tree.list(path)] for path in ("/", "/google", "/google/spice", "/nobody")}
    assert names == {
        "/": [".hubfs", "deepmind", "google"],
        "/google": ["spice"],
        "/google/spice": ["10", "2", "deeper", "latest"],
        "/nobody": [],
    }
    assert hub.asked == ["google/spice/10", "google/other/10", "versions google/spice"]


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
    assert looked_up == ["variables"]


def test_an_open_file_reads_and_is_held_until_it_is_released(hub: TreeHub, tree: VirtualTree) -> None:
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


def test_the_backing_file_of_an_open_file_is_the_one_of_the_cache(hub: TreeHub, tree: VirtualTree) -> None:
    tree.list("/google/spice/2")  # to the end of the archive
    path = "assets/vocab.txt"
    file = tree.open(f"/google/spice/2/{path}")
    assert (hub.whole, hub.completer.is_wanted) == ([], False)
    assert file.backing(1.5) is None
    assert hub.completer.is_wanted
    assert hub.whole == [(CacheKey("google/spice/2@v1", path), len(FILES[path]), 1.5)]
    file.release()


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (ArchiveSource, "complete", False),
        (ArchiveSource, "failure", Damaged("it is damaged")),
        (Entry, "sparse", SparseMap(2, ((0, 1),))),
    ],
)
def test_what_is_not_verified_or_has_holes_has_no_backing_file(
    hub: TreeHub, tree: VirtualTree, monkeypatch: pytest.MonkeyPatch, kind: type, field: str, value: object
) -> None:
    tree.list("/google/spice/2")
    file = tree.open("/google/spice/2/assets/vocab.txt")
    monkeypatch.setattr(kind, field, property(lambda _: value, lambda *_: None))
    assert file.backing(1.5) is None
    assert not hub.whole
    assert hub.completer.is_wanted  # of other files, and of this one later
    monkeypatch.undo()
    file.release()


@pytest.mark.parametrize(("worth_bytes", "asked"), [(1, ["assets/vocab.txt"]), (1 << 20, [])])
def test_the_open_of_a_large_file_waits_for_the_end_of_an_archive_that_came(
    hub: TreeHub, tree: VirtualTree, monkeypatch: pytest.MonkeyPatch, worth_bytes: int, asked: list[str]
) -> None:
    tree.list("/google/spice/2")
    file = tree.open("/google/spice/2/assets/vocab.txt")
    complete = False

    def end(_: ArchiveSource, patience_s: float) -> None:
        nonlocal complete
        assert patience_s == 1.5
        complete = True

    monkeypatch.setattr("hubfs.tree.hub_tree._WORTH_A_WAIT_BYTES", worth_bytes)
    monkeypatch.setattr(ArchiveSource, "complete", property(lambda _: complete))
    monkeypatch.setattr(ArchiveSource, "await_end", end)
    assert file.backing(1.5) is None
    assert complete is bool(asked)
    assert [key.path for key, _, patience_s in hub.whole if 0.0 <= patience_s <= 1.5] == asked
    monkeypatch.undo()
    file.release()


@pytest.mark.parametrize("path", ["/google/spice/2", "/google/spice/2/variables", "/.hubfs"])
def test_a_directory_cannot_be_opened_as_a_file(tree: VirtualTree, path: str) -> None:
    with pytest.raises(IsADirectory):
        tree.open(path)


@pytest.mark.parametrize(
    "path", ["/", "/google", "/google/spice/2", "/google/spice/2/saved_model.pb", "/.hubfs/version"]
)
def test_these_are_no_symlinks(tree: VirtualTree, path: str) -> None:
    with pytest.raises(NotASymlink):
        tree.readlink(path)


def test_controls_are_made_when_they_are_asked_for(hub: TreeHub, tree: VirtualTree) -> None:
    assert tree.stat("/.hubfs") == DIRECTORY
    assert tree.list("/.hubfs") == [
        ("status.json", NodeKind.CONTROL),
        ("tfhub_modules", NodeKind.DIRECTORY),
        ("version", NodeKind.CONTROL),
    ]
    assert tree.stat("/.hubfs/version") == Node(NodeKind.CONTROL, 6)
    file = tree.open("/.hubfs/status.json")
    hub.status = b'{"a": 1}'
    again = tree.open("/.hubfs/status.json")
    assert (file.blob.read_at(0, 100), again.blob.read_at(0, 100)) == (b"{}", b'{"a": 1}')
    assert tree.stat("/.hubfs/status.json").size_bytes == 8
    assert file.pages_of is None
    file.release()
    assert attributes_of(tree, "/.hubfs/status.json") == {}
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
    assert attributes_of(tree, "/google/spice/2") == expected
    assert attributes_of(tree, "/google/spice/2/saved_model.pb") == expected
    assert tree.attribute("/google/spice/2", "user.hubfs.form") == "compressed"


def test_an_attribute_costs_one_question_or_none_whatever_the_model_holds(
    hub: TreeHub, tree: VirtualTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.list("/google/spice/2")
    counted: list[str] = []

    def cached_bytes(model: str) -> int | None:
        counted.append(model)
        return None

    monkeypatch.setattr(hub.cache, "cached_bytes", cached_bytes)
    monkeypatch.setattr(ArchiveSource, "entries", None)  # nor does anybody ask for all of them
    for name in ("handle", "url", "form"):
        assert tree.attribute("/google/spice/2/saved_model.pb", f"user.hubfs.{name}")
    assert not counted
    with pytest.raises(NoSuchAttribute):  # as long as it is not counted
        tree.attribute("/google/spice/2", "user.hubfs.cached_bytes")
    assert len(counted) == 1


def test_a_damaged_model_says_why_until_it_is_fetched_anew(hub: TreeHub, tree: VirtualTree) -> None:
    with pytest.raises(Damaged):
        tree.list("/broken/model/1")
    assert tree.stat("/broken/model/1") == DIRECTORY
    assert "ended early" in tree.attribute("/broken/model/1", "user.hubfs.error")
    for path in ("/broken/model/1/saved_model.pb", "/broken/model/1/assets/vocab.txt"):
        for ask in (tree.stat, tree.open):
            with pytest.raises(Damaged, match=f"{HUB}/broken/model/1"):
                ask(path)
    hub.archives["broken/model/1"] = ARCHIVES["google/spice/2"]
    hub.now_s += 31
    assert len(tree.list("/broken/model/1")) == 4
    with pytest.raises(NoSuchAttribute):
        tree.attribute("/broken/model/1", "user.hubfs.error")


def test_a_model_that_cannot_be_had_says_why(hub: TreeHub, tree: VirtualTree) -> None:
    hub.trouble["google/spice/2"] = Unavailable(f"{HUB}: no route")
    for path, reason, kind in (
        ("/private/model/1", "403", AccessDenied),
        ("/google/spice/2/x", "no route", Unavailable),
    ):
        with pytest.raises(kind):
            tree.stat(path)
        assert set(attributes_of(tree, path)) == {"user.hubfs.handle", "user.hubfs.error"}
        assert reason in tree.attribute(path, "user.hubfs.error")
    above = tree.attribute("/google/spice", "user.hubfs.error")  # where the kernel lets somebody ask
    assert above == f"2: {HUB}: no route"
    hub.trouble.clear()
    hub.now_s += 1
    assert "user.hubfs.error" not in attributes_of(tree, "/google/spice/2")
    assert attributes_of(tree, "/google/spice") == {}


def test_a_missing_model_has_no_attributes(tree: VirtualTree) -> None:
    with pytest.raises(NotFound):
        tree.attribute("/google/spice/3", "user.hubfs.url")


@pytest.mark.parametrize("name", ["security.selinux", "security.capability", "system.posix_acl_access", "user.other"])
def test_attributes_of_others_are_answered_without_looking(hub: TreeHub, tree: VirtualTree, name: str) -> None:
    with pytest.raises(NoSuchAttribute):
        tree.attribute("/google/spice/2", name)
    assert not hub.asked


def test_an_attribute_that_is_not_there_is_said_to_be_missing(tree: VirtualTree) -> None:
    for name in ("user.hubfs.error", "user.hubfs.nothing"):
        with pytest.raises(NoSuchAttribute, match=name):
            tree.attribute("/google/spice/2", name)

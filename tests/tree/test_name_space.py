"""The whole name space: kinds, latest, collections, documentation, modules; and what each question costs."""

import hashlib
import posixpath
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hubfs.errors import (
    AccessDenied,
    Damaged,
    EntryNotFound,
    HubfsError,
    ModelNotFound,
    NotADirectory,
    NotASymlink,
    NotFound,
    TimedOut,
    Unavailable,
)
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.catalogue import CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.file import to_json_lines
from hubfs.hubs.tfhub.names.handle import kind_of, parse_handle
from hubfs.tree.node import Node, NodeKind
from hubfs.tree.virtual_tree import VirtualTree
from tests.support.archives import tar_of
from tests.support.mount import eventually
from tests.support.streams import Desk
from tests.support.tree_hub import TreeHub, attributes_of

MODULES = "tfhub_modules"

SPICE_JS = "google/tfjs-model/spice/2/default"
ARCHIVES = {
    handle: tar_of({"model": handle.encode()})
    for handle in ("google/spice/1", "google/spice/2", f"{SPICE_JS}/1", "google/lite-model/spice/1", "team/own/7")
}
CATALOG = (
    CatalogEntry(CatalogKind.MODULE, "google/spice/2", documentation="# Spice\n"),
    CatalogEntry(CatalogKind.TFJS, f"{SPICE_JS}/1", documentation="# Spice.js\n"),
    CatalogEntry(CatalogKind.LITE, "google/lite-model/spice/1"),
    CatalogEntry(CatalogKind.PLACEHOLDER, "google/placeholder/1"),
    CatalogEntry(CatalogKind.COLLECTION, "google/collection/pitch", members=("google/spice", f"{SPICE_JS}/1")),
)
DIRECTORY, FILE, SYMLINK, CONTROL = NodeKind.DIRECTORY, NodeKind.FILE, NodeKind.SYMLINK, NodeKind.CONTROL
DOWN = Unavailable("hub.example: no route")

MakeHub = Callable[..., TreeHub]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeHub]:
    """Makes hubs of ARCHIVES; `entries` become a catalogue file."""
    desk = Desk()

    def make(entries: Sequence[CatalogEntry] = (), **options: object) -> TreeHub:
        file = None
        if entries:
            file = tmp_path / "catalog.jsonl"
            file.write_text(to_json_lines(entries), encoding="ascii")
        return TreeHub(desk, options.pop("archives", ARCHIVES), catalog=file, **options)  # type: ignore[arg-type]

    yield make
    desk.close()


def names(hub: TreeHub, path: str) -> list[str]:
    return [name for name, _ in hub.tree.list(path)]


def handle_at(hub: TreeHub, path: str) -> str | None:
    """The handle of the model that the path is of, as far as the tree knows."""
    return attributes_of(hub.tree, path).get("user.hubfs.handle")


def module(url: str) -> str:
    return f"/.hubfs/{MODULES}/{hashlib.sha1(url.encode()).hexdigest()}"


def walk(hub: TreeHub, path: str = "") -> Iterator[str]:
    """Every path above the models and the models themselves, as `ls -R` goes down, which looks nothing up."""
    for name, kind in hub.tree.list(path or "/"):
        below = f"{path}/{name}"
        yield below
        if kind is DIRECTORY and below[1:] not in hub.archives and name != ".hubfs":
            yield from walk(hub, below)


class TestLatest:
    def test_leads_to_the_newest_version(self, make: MakeHub) -> None:
        hub = make()
        assert hub.tree.readlink("/google/spice/latest") == "2"
        assert hub.tree.stat("/google/spice/latest") == Node(SYMLINK, 1)
        assert hub.asked == ["latest google/spice"]

    def test_moves_within_the_ttl_without_disturbing_open_files(self, make: MakeHub) -> None:
        hub = make()
        target = hub.tree.readlink("/google/spice/latest")
        file = hub.tree.open(f"/google/spice/{target}/model")
        hub.archives["google/spice/10"] = tar_of({"model": b"ten"})
        assert hub.tree.readlink("/google/spice/latest") == "2"
        hub.now_s += 11
        assert hub.tree.readlink("/google/spice/latest") == "10"
        assert file.blob.read_at(0, 100) == b"google/spice/2"
        assert names(hub, "/google/spice") == ["1", "10", "2", "latest"]
        again = hub.tree.open("/google/spice/2/model")
        assert again.pages_of is file.pages_of
        for one in (file, again):
            one.release()

    @pytest.mark.parametrize("with_catalogue", [True, False])
    def test_lies_beside_versions_of_names_with_numbers(self, make: MakeHub, with_catalogue: bool) -> None:  # noqa: FBT001 - a case
        hub = make(CATALOG if with_catalogue else ())
        assert hub.tree.readlink(f"/{SPICE_JS}/latest") == "1"
        assert hub.tree.stat(f"/{SPICE_JS}/latest").kind is SYMLINK
        assert dict(hub.tree.list(f"/{SPICE_JS}"))["latest"] is SYMLINK

    def test_of_nothing_does_not_exist(self, make: MakeHub) -> None:
        hub = make()
        for question in (hub.tree.stat, hub.tree.readlink):
            with pytest.raises(ModelNotFound):
                question("/google/nothing/latest")
        assert hub.asked == ["latest google/nothing", "versions google/nothing"]

    def test_is_no_directory_and_no_file(self, make: MakeHub) -> None:
        with pytest.raises(NotADirectory):
            make().tree.list("/google/spice/latest")

    def test_is_shown_only_beside_versions(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        shown = [path for path in walk(hub) if path.endswith("/latest")]
        assert shown == [
            "/google/lite-model/spice/latest",
            "/google/spice/latest",
            f"/{SPICE_JS}/latest",
        ]
        for path in shown:
            assert hub.tree.stat(path).kind is SYMLINK


class TestTypedNames:
    @pytest.mark.parametrize("with_catalogue", [True, False])
    def test_lead_to_the_one_model(self, make: MakeHub, with_catalogue: bool) -> None:  # noqa: FBT001 - a case
        hub = make(CATALOG if with_catalogue else ())
        for path in ("google/tfjs-model/spice/2", SPICE_JS):
            assert hub.tree.stat(f"/{path}") == Node(DIRECTORY)
            assert handle_at(hub, f"/{path}") is None
        assert handle_at(hub, f"/{SPICE_JS}/1") == f"{SPICE_JS}/1"
        assert hub.tree.stat(f"/{SPICE_JS}/1/model") == Node(FILE, len(f"{SPICE_JS}/1"))
        probed = [] if with_catalogue else ["google/tfjs-model/spice/2"]
        assert hub.asked == [*probed, f"{SPICE_JS}/1"]

    def test_that_were_found_are_not_asked_for_again(self, make: MakeHub) -> None:
        hub = make()
        hub.tree.stat(f"/{SPICE_JS}/1")
        hub.asked.clear()
        hub.now_s += 3600
        hub.trouble[""] = DOWN
        for path in (f"{SPICE_JS}/1", f"{SPICE_JS}/1/model", SPICE_JS, "google/tfjs-model/spice/2"):
            hub.tree.stat(f"/{path}")
        assert not hub.asked

    def test_that_are_cached_are_not_asked_for(self, make: MakeHub) -> None:
        hub = make()
        hub.indexes[f"{SPICE_JS}/1"] = {"form": "compressed"}
        hub.indexes["google/spice/2"] = {"form": "compressed"}
        hub.trouble[""] = DOWN
        for path in ("google/spice/2", "google/tfjs-model/spice/2", f"{SPICE_JS}/1", f"{SPICE_JS}/1/model"):
            hub.tree.stat(f"/{path}")
        assert not hub.asked

    def test_with_a_catalogue_a_typo_does_not_exist(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        for path in ("google/lite-model/spice/2", "google/lite-model/spicy/1", "google/tfjs-model/spice/2/defualt/1"):
            with pytest.raises(NotFound):
                hub.tree.stat(f"/{path}")

    def test_a_hub_that_cannot_be_asked_is_not_one_that_has_no_model(self, make: MakeHub) -> None:
        hub = make()
        hub.trouble[""] = DOWN
        with pytest.raises(Unavailable):
            hub.tree.stat(f"/{SPICE_JS}/1")


class TestCollections:
    def test_are_directories_of_links_to_models(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        assert hub.tree.list("/google/collection") == [("pitch", DIRECTORY)]
        links = hub.tree.list("/google/collection/pitch")
        assert links == [("google_spice_2", SYMLINK), ("google_tfjs-model_spice_2_default_1", SYMLINK)]
        for name, _ in links:
            path = f"/google/collection/pitch/{name}"
            target = hub.tree.readlink(path)
            assert hub.tree.stat(path) == Node(SYMLINK, len(target))
            model = posixpath.normpath(f"{posixpath.dirname(path)}/{target}")
            assert handle_at(hub, model) == model[1:]
        assert attributes_of(hub.tree, "/google/collection/pitch") == {}

    def test_are_there_before_anybody_listed(self, make: MakeHub) -> None:
        hub = make(document=CATALOG)
        assert hub.tree.stat("/google/collection/pitch") == Node(DIRECTORY)
        assert hub.tree.readlink("/google/collection/pitch/google_spice_2") == "../../../google/spice/2"
        assert (hub.documents, hub.asked) == (1, [])

    def test_that_nobody_knows_do_not_exist(self, make: MakeHub) -> None:
        for hub in (make(CATALOG), make()):
            for path in ("/google/collection/nothing", "/google/collection/pitch/nothing", "/nobody/collection"):
                with pytest.raises(EntryNotFound):
                    hub.tree.stat(path)
            assert not hub.asked


class TestDocumentation:
    def test_lies_beside_the_versions(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        assert hub.tree.list("/google/spice") == [("2", DIRECTORY), ("README.md", CONTROL), ("latest", SYMLINK)]
        for name, text in (("google/spice", b"# Spice\n"), (SPICE_JS, b"# Spice.js\n")):
            path = f"/{name}/README.md"
            assert hub.tree.stat(path) == Node(CONTROL, len(text))
            file = hub.tree.open(path)
            assert file.blob.read_at(0, 100) == text
            file.release()
            assert attributes_of(hub.tree, path) == {}
            for question, kind in ((hub.tree.list, NotADirectory), (hub.tree.readlink, NotASymlink)):
                with pytest.raises(kind):
                    question(path)
        assert not hub.asked

    def test_is_there_before_anybody_listed(self, make: MakeHub) -> None:
        hub = make(document=CATALOG)
        assert hub.tree.stat("/google/spice/README.md").size_bytes == 8

    def test_where_there_is_none_there_is_no_file(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        with pytest.raises(EntryNotFound):
            hub.tree.stat("/google/lite-model/spice/README.md")
        assert "README.md" not in names(hub, "/google/lite-model/spice")
        assert not hub.asked


class TestListings:
    def test_name_what_the_catalogue_knows(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        hub.on_disk = ["team/own/7"]
        assert names(hub, "/") == [".hubfs", "google", "team"]
        assert names(hub, "/google") == ["collection", "lite-model", "spice", "tfjs-model"]
        assert names(hub, "/google/tfjs-model/spice") == ["2"]
        assert names(hub, "/google/tfjs-model/spice/2") == ["default"]
        assert not hub.asked

    def test_of_names_that_nobody_knows_ask_for_versions(self, make: MakeHub) -> None:
        hub = make()
        for _ in range(3):
            assert names(hub, "/google/spice") == ["1", "2", "latest"]
        assert hub.asked == ["versions google/spice"]
        assert names(hub, "/google") == []
        assert hub.asked == ["versions google/spice"]

    def test_show_a_new_version_within_the_ttl(self, make: MakeHub) -> None:
        hub = make()
        assert names(hub, "/google/spice") == ["1", "2", "latest"]
        hub.archives["google/spice/3"] = ARCHIVES["google/spice/2"]
        hub.now_s += 11
        assert names(hub, "/google/spice") == ["1", "2", "3", "latest"]

    def test_name_what_the_hub_lists(self, make: MakeHub) -> None:
        hub = make(listing=True)
        assert names(hub, "/") == [".hubfs", "google", "team"]
        assert names(hub, "/google/spice") == ["1", "2", "latest"]
        assert names(hub, "/google/tfjs-model/spice") == ["2"]
        assert names(hub, f"/{SPICE_JS}") == ["1", "latest"]
        assert hub.asked == [
            "children ",
            "children google/spice",
            "children google/tfjs-model/spice",
            "versions google/tfjs-model/spice",
            "google/tfjs-model/spice/2",  # a model, or a directory above one?
            f"children {SPICE_JS}",
            f"versions {SPICE_JS}",
        ]

    @pytest.mark.parametrize("trouble", [DOWN, TimedOut("stalled"), AccessDenied("403"), Damaged("not JSON")])
    def test_do_with_what_is_known_while_the_hub_is_down(self, make: MakeHub, trouble: HubfsError) -> None:
        for options in ({}, {"listing": True}, {"document": CATALOG}):
            hub = make(**options)
            hub.on_disk = ["google/spice/2"]
            hub.trouble[""] = trouble
            for _ in range(3):
                assert names(hub, "/") == [".hubfs", "google"]
                assert names(hub, "/google/spice") == ["2", "latest"]
            assert len(hub.asked) == len(set(hub.asked))
            assert hub.documents <= 1


class TestCosts:
    def test_going_through_a_catalogue_asks_for_no_model(self, make: MakeHub) -> None:
        hub = make(document=CATALOG)
        paths = {*walk(hub)}
        assert {f"/{entry.handle}" for entry in CATALOG if entry.kind.model_kind} <= paths
        assert (hub.documents, hub.asked) == (1, [])

    def test_going_through_a_hub_that_lists_takes_listings_only(self, make: MakeHub) -> None:
        hub = make(listing=True)
        assert {f"/{handle}" for handle in ARCHIVES} <= {*walk(hub)}
        assert not [question for question in hub.asked if question in ARCHIVES or question.startswith("latest")]
        assert len(hub.asked) == len(set(hub.asked))

    @pytest.mark.parametrize("name", [".git", ".Trash-0", "desktop.ini", "AACS", "autorun.inf", ".hidden"])
    @pytest.mark.parametrize("with_catalogue", [True, False])
    def test_junk_asks_nobody(self, make: MakeHub, name: str, with_catalogue: bool) -> None:  # noqa: FBT001 - a case
        hub = make(CATALOG if with_catalogue else ())
        for folder in ("", "/google", "/google/spice", "/google/lite-model", "/google/tfjs-model/spice", "/.hubfs"):
            if folder in {"", "/.hubfs"} or name.startswith("."):
                with pytest.raises(NotFound):
                    hub.tree.stat(f"{folder}/{name}")
            else:  # by its letters it could be a model's name
                assert hub.tree.stat(f"{folder}/{name}") == Node(DIRECTORY)
        assert not hub.asked

    def test_a_model_that_was_found_is_not_asked_for_again(self, make: MakeHub) -> None:
        hub = make()
        for _ in range(3):
            hub.tree.stat("/google/spice/2")
            hub.now_s += 3600
        assert hub.asked == ["google/spice/2"]


class TestModules:
    """`/.hubfs/tfhub_modules`: tensorflow_hub tries again for ever on anything but ENOENT."""

    def test_lead_from_what_was_typed_to_the_model(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        path = module("https://tfhub.dev/google/spice/2")
        assert hub.tree.readlink(path) == "../../google/spice/2"
        assert hub.tree.stat(path) == Node(SYMLINK, len("../../google/spice/2"))
        text = b"Module: https://tfhub.dev/google/spice/2\n"
        file = hub.tree.open(f"{path}.descriptor.txt")
        assert file.blob.read_at(0, len(text)) == text
        assert hub.tree.stat(f"{path}.descriptor.txt").kind is CONTROL
        unversioned = module(f"https://tfhub.dev/{SPICE_JS}")
        assert hub.tree.readlink(unversioned) == f"../../{SPICE_JS}/latest"
        assert hub.tree.readlink(f"/{SPICE_JS}/latest") == "1"

    def test_are_not_listed(self, make: MakeHub) -> None:
        hub = make(CATALOG)
        assert hub.tree.stat(f"/.hubfs/{MODULES}") == Node(DIRECTORY)
        assert hub.tree.list(f"/.hubfs/{MODULES}") == []

    @pytest.mark.parametrize("trouble", [None, DOWN, TimedOut("stalled"), AccessDenied("403"), Damaged("not UTF-8")])
    def test_that_are_not_known_do_not_exist(self, make: MakeHub, trouble: HubfsError | None) -> None:
        unknown = module("https://tfhub.dev/google/unknown/1")
        known = module("https://tfhub.dev/google/spice/2")
        for options in ({}, {"document": CATALOG}, {"entries": CATALOG}, {"listing": True}):
            hub = make(**options)
            if trouble is not None:
                hub.trouble[""] = trouble
            for path in (
                unknown,
                f"{unknown}.descriptor.txt",
                f"{unknown}.lock",
                f"{known}.lock",
                f"{unknown}/saved_model.pb",
                f"{known}.0123abcd.tmp",
                f"/.hubfs/{MODULES}/x\udcff",
            ):
                for question in (hub.tree.stat, hub.tree.open, hub.tree.readlink, hub.tree.list):
                    with pytest.raises(EntryNotFound):
                        question(path)
                assert attributes_of(hub.tree, path) == {}
            assert not hub.asked
            assert hub.documents <= 1


@pytest.mark.slow
@pytest.mark.parametrize("with_catalogue", [True, False])
def test_every_public_handle_is_a_model_root_and_what_is_above_is_not(make: MakeHub, with_catalogue: bool) -> None:  # noqa: FBT001 - a case
    entries = bundled_catalogue().entries
    models = {entry.handle: entry.kind for entry in entries if entry.kind.model_kind is not None}
    assert len(models) > 1000
    archive = tar_of({"model": b"bytes"})
    hub = make(entries if with_catalogue else (), archives=dict.fromkeys(models, archive))
    for handle, kind in models.items():
        assert hub.tree.stat(f"/{handle}") == Node(DIRECTORY)
        for path in (handle, f"{handle}/model", f"{handle}/variables/1/latest"):
            assert handle_at(hub, f"/{path}") == handle
        name = handle.rpartition("/")[0]
        assert hub.tree.readlink(f"/{name}/latest") == max(hub.models.answers.versions(name), key=int)
        assert kind_of(parse_handle(handle).name) is kind.model_kind
    asked = [question for question in hub.asked if " " not in question]
    if with_catalogue:
        assert sorted(asked) == sorted(models)
    above = {"/".join(handle.split("/")[:depth]) for handle in models for depth in range(1, handle.count("/"))}
    for path in above:
        assert hub.tree.stat(f"/{path}") == Node(DIRECTORY)
        assert handle_at(hub, f"/{path}") is None
    for entry in entries:
        if entry.kind in (CatalogKind.PLACEHOLDER, CatalogKind.COLLECTION):
            try:
                assert handle_at(hub, f"/{entry.handle}") is None
            except NotFound:
                assert entry.kind is CatalogKind.PLACEHOLDER or not with_catalogue


class TestWrittenDown:
    """A model that a catalogue names is there without a question, until somebody looks inside."""

    GONE = "google/gone/1"

    @pytest.fixture
    def hub(self, make: MakeHub) -> TreeHub:
        return make((*CATALOG, CatalogEntry(CatalogKind.MODULE, self.GONE)))

    def test_its_directory_asks_nobody_and_stays_as_it_is(self, hub: TreeHub) -> None:
        before = hub.tree.stat("/google/spice/2")
        assert before == Node(DIRECTORY)
        assert hub.tree.nodes("/google/spice", hub.tree.list("/google/spice"))["2"].time_ns == before.time_ns
        assert hub.asked == []
        assert names(hub, "/google/spice/2") == ["model"]
        assert hub.asked == ["google/spice/2"]
        after = hub.tree.stat("/google/spice/2")
        assert after.time_ns == before.time_ns
        assert after.source is not None

    def test_two_versions_have_two_times(self, make: MakeHub) -> None:
        hub = make([CatalogEntry(CatalogKind.MODULE, f"google/spice/{version}") for version in (1, 2)])
        first, second = (hub.tree.stat(f"/google/spice/{version}").time_ns for version in (1, 2))
        assert second - first >= 10**9

    @pytest.mark.parametrize(
        "look",
        [
            lambda tree, root: tree.list(root),
            lambda tree, root: tree.stat(root, opens=True),
            lambda tree, root: tree.stat(f"{root}/model"),
        ],
        ids=["list", "open", "child"],
    )
    def test_a_look_inside_finds_out_that_it_is_gone(
        self, hub: TreeHub, look: Callable[[VirtualTree, str], object]
    ) -> None:
        assert hub.tree.stat(f"/{self.GONE}") == Node(DIRECTORY)
        assert hub.asked == []
        with pytest.raises(ModelNotFound):
            look(hub.tree, f"/{self.GONE}")
        with pytest.raises(ModelNotFound):
            hub.tree.stat(f"/{self.GONE}")
        assert "1" not in hub.tree.nodes("/google/gone", hub.tree.list("/google/gone"))
        hub.now_s += 601
        assert hub.tree.stat(f"/{self.GONE}") == Node(DIRECTORY), "why it was not found is forgotten by then"

    def test_a_look_inside_says_what_keeps_the_hub_from_answering(self, hub: TreeHub) -> None:
        hub.trouble[""] = DOWN
        assert hub.tree.stat("/google/spice/2") == Node(DIRECTORY)
        with pytest.raises(Unavailable):
            hub.tree.stat("/google/spice/2", opens=True)

    def test_what_is_not_written_down_is_asked_for(self, hub: TreeHub) -> None:
        hub.tree.stat("/google/spice/1")
        assert hub.asked == ["google/spice/1"]


class TestBundled:
    """The catalogue that comes with hubfs is a snapshot: it shows what there was, and denies nothing."""

    QUANTIZED = "tensorflow/tfjs-model/deeplab/ade20k/1/quantized/2"
    NEW = "newcomer/tfjs-model/ears/3/default/1"

    @pytest.fixture
    def hub(self, make: MakeHub) -> TreeHub:
        # As the public hub, this one answers to names without a version, and so to what a version could be.
        handles = (self.QUANTIZED, f"{self.QUANTIZED}/1", "google/spice/2", "google/spice/3", self.NEW)
        archives = {handle: tar_of({"model": handle.encode()}) for handle in handles}
        return make(archives=archives, bundled=bundled_catalogue)

    def test_a_typed_name_is_walked_though_its_prefix_answers(self, hub: TreeHub) -> None:
        assert names(hub, f"/{self.QUANTIZED}") == ["1", "latest"]
        file = hub.tree.open(f"/{self.QUANTIZED}/1/model")
        assert file.blob.read_at(0, 100) == f"{self.QUANTIZED}/1".encode()
        assert handle_at(hub, f"/{self.QUANTIZED}") is None
        assert hub.asked == [f"{self.QUANTIZED}/1"]

    def test_a_version_that_it_does_not_have_is_asked_for(self, hub: TreeHub) -> None:
        assert handle_at(hub, "/google/spice/3") == "google/spice/3"
        with pytest.raises(ModelNotFound):
            hub.tree.stat("/google/spice/4")

    def test_a_typed_model_of_a_new_publisher_is_found(self, hub: TreeHub) -> None:
        for depth in range(1, 6):
            assert hub.tree.stat("/" + "/".join(self.NEW.split("/")[:depth])) == Node(DIRECTORY)
        assert handle_at(hub, f"/{self.NEW}/model") == self.NEW

    def test_versions_are_asked_for_once_a_model_is_in_use(self, hub: TreeHub) -> None:
        assert names(hub, "/google/spice") == ["1", "2", "latest"]
        assert hub.asked == []
        hub.tree.list("/google/spice/2")
        assert names(hub, "/google/spice") == ["1", "2", "3", "latest"]

    def test_without_the_hub_everything_above_the_models_is_shown(self, make: MakeHub) -> None:
        models = {entry.handle for entry in bundled_catalogue().entries if entry.kind.model_kind is not None}
        hub = make(archives=dict.fromkeys(models, b""), bundled=bundled_catalogue)
        hub.trouble[""] = DOWN
        paths = {*walk(hub)}
        assert {f"/{handle}" for handle in models} <= paths
        assert hub.tree.readlink("/google/collection/bert/google_bert_uncased_L-12_H-768_A-12_1") == (
            "../../../google/bert_uncased_L-12_H-768_A-12/1"
        )
        assert hub.asked == []
        assert hub.tree.readlink("/google/spice/latest") == "2"

    def test_the_document_of_the_hub_stands_in_its_place(self, make: MakeHub) -> None:
        hub = make(document=CATALOG, bundled=bundled_catalogue)
        assert eventually(lambda: names(hub, "/") == [".hubfs", "google"])
        assert names(hub, "/google/spice") == ["2", "README.md", "latest"]
        assert hub.documents == 1

    def test_a_file_stands_in_its_place(self, make: MakeHub) -> None:
        hub = make([CatalogEntry(CatalogKind.MODULE, "us/a/1")], bundled=bundled_catalogue)
        assert names(hub, "/") == [".hubfs", "us"]


def test_the_public_catalogue_is_listed_in_no_time(make: MakeHub) -> None:
    entries = bundled_catalogue().entries
    hub = make(entries, archives={entry.handle: b"" for entry in entries if entry.kind.model_kind is not None})
    began_s = time.process_time()
    paths = {*walk(hub)}
    took_s = time.process_time() - began_s
    print(f"{len(entries)} entries: {len(paths)} names in {took_s:.2f} s")
    assert {f"/{handle}" for handle in hub.archives} <= paths
    assert not hub.asked
    assert took_s < 5
    began_s = time.process_time()
    assert len(names(hub, "/google")) > 100
    assert time.process_time() - began_s < 0.5

import time

import pytest

from hubfs.errors import InvalidHandle
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.handle import Kind, kind_of, parse_handle


def module(handle: str, documentation: str | None = None) -> CatalogEntry:
    return CatalogEntry(CatalogKind.MODULE, handle, documentation)


def collection(handle: str, *members: str) -> CatalogEntry:
    return CatalogEntry(CatalogKind.COLLECTION, handle, members=members)


CATALOG = Catalog(
    [
        CatalogEntry(CatalogKind.PUBLISHER, "google"),
        CatalogEntry(CatalogKind.PUBLISHER, "newcomer"),
        module("google/spice/10", "# Module google/spice/10"),
        module("google/spice/9", "# Module google/spice/9"),
        module("google/spice/11"),
        module("google/spice/deeper/1"),
        CatalogEntry(CatalogKind.LITE, "google/lite-model/spice/1"),
        CatalogEntry(CatalogKind.TFJS, "google/tfjs-model/spice/2/default/1", "# Tfjs google/spice/2/default/1"),
        CatalogEntry(CatalogKind.CORAL, "google/coral-model/yamnet/1/default/1"),
        CatalogEntry(CatalogKind.PLACEHOLDER, "google/yamnet/classification/1", "for people"),
        CatalogEntry(CatalogKind.PLACEHOLDER, "iree/mobilebert/fp32/1"),
        collection("google/collection/sound", "google/spice", "google/spice/11", "google/spice/9", "google/unknown"),
        collection("google/collection/experts/bert", "google/yamnet/classification/1", "other/model/3"),
        collection("google/collection/empty"),
    ]
)


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("", ["google", "newcomer"]),
        ("google", ["collection", "coral-model", "lite-model", "spice", "tfjs-model"]),
        ("google/spice", ["10", "11", "9", "deeper"]),
        ("google/lite-model", ["spice"]),
        ("google/tfjs-model/spice/2", ["default"]),
        ("google/tfjs-model/spice/2/default", ["1"]),
        ("google/collection", ["empty", "experts", "sound"]),
        ("google/collection/experts", ["bert"]),
        ("google/spice/9", []),
        ("google/collection/sound", []),
        ("newcomer", []),
        ("google/spi", []),
    ],
)
def test_a_folder_shows_what_lies_directly_below_it(folder: str, names: list[str]):
    assert CATALOG.children(tuple(folder.split("/")) if folder else ()) == names


def test_placeholders_have_no_path():
    assert "iree" not in CATALOG.children(())
    assert "yamnet" not in CATALOG.children(("google",))


@pytest.mark.parametrize(
    ("handle", "known"),
    [
        ("google/spice/9", True),
        ("google/tfjs-model/spice/2/default/1", True),
        ("google/coral-model/yamnet/1/default/1", True),
        ("google/yamnet/classification/1", False),
        ("google/collection/sound", False),
        ("google/collection/never-heard-of/1", False),
        ("google", False),
        ("google/spice/12", None),
        ("nobody/nothing/1", None),
    ],
)
def test_a_handle_is_a_model_or_not_or_unknown(handle: str, known: object):
    assert CATALOG.is_model(handle) is known


def test_what_lies_above_a_model_is_no_model():
    assert CATALOG.is_model("google/tfjs-model/spice/2") is False


def test_versions_ascend_as_numbers_of_whatever_length():
    assert CATALOG.versions("google/spice") == ["9", "10", "11"]
    long = "1" + "0" * 254  # no name is longer
    assert Catalog([module(f"a/b/{long}"), module("a/b/9")]).versions("a/b") == ["9", long]


def test_a_name_without_models_has_no_versions():
    assert CATALOG.versions("google/yamnet/classification") == []
    assert CATALOG.versions("google/collection") == []
    assert CATALOG.children(()) == ["google", "newcomer"], "asking leaves no trace"


def test_a_member_without_a_version_is_its_newest_and_no_member_shows_twice():
    assert CATALOG.collection("google/collection/sound") == ("google/spice/11", "google/spice/9")


def test_a_collection_leaves_placeholders_out_and_keeps_versioned_models_that_it_cannot_know():
    assert CATALOG.collection("google/collection/experts/bert") == ("other/model/3",)


def test_only_a_collection_has_members():
    assert CATALOG.collection("google/collection/empty") == ()
    assert CATALOG.collection("google/collection") is None
    assert CATALOG.collection("google/spice/9") is None


def test_documentation_is_that_of_the_newest_version_which_has_one():
    assert CATALOG.documentation("google/spice") == b"# Module google/spice/10"
    assert CATALOG.documentation("google/tfjs-model/spice/2/default") == b"# Tfjs google/spice/2/default/1"


def test_what_is_no_models_name_has_no_documentation():
    for name in ("google/spice/deeper", "google/yamnet/classification", "google/spice/10", "google", ""):
        assert CATALOG.documentation(name) is None


def test_documentation_that_is_not_quite_text_is_still_shown():
    assert Catalog([module("a/b/1", "half \ud800")]).documentation("a/b") == b"half ?"


def test_handles_are_those_of_models_sorted_by_name_and_age():
    assert CATALOG.handles() == [
        "google/coral-model/yamnet/1/default/1",
        "google/lite-model/spice/1",
        "google/spice/9",
        "google/spice/10",
        "google/spice/11",
        "google/spice/deeper/1",
        "google/tfjs-model/spice/2/default/1",
    ]


def test_the_first_of_two_catalogues_counts_and_the_other_fills_in():
    ours = Catalog([module("a/b/1", "ours"), module("a/b/2"), collection("a/collection/c", "a/b/1")])
    theirs = Catalog([module("a/b/1", "theirs"), module("a/b/2", "more"), collection("a/collection/c", "a/b/2")])
    both = ours.merged(theirs.merged(Catalog([module("x/y/1")])))
    assert {entry.handle: entry.documentation for entry in both.entries if entry.kind is CatalogKind.MODULE} == {
        "a/b/1": "ours",
        "a/b/2": "more",
        "x/y/1": None,
    }
    assert both.collection("a/collection/c") == ("a/b/1",)
    assert both.children(()) == ["a", "x"]
    assert ours.children(()) == ["a"], "merging changes neither"


def test_an_empty_catalogue_knows_nothing():
    empty = Catalog()
    assert (empty.children(()), empty.handles(), empty.is_model("a/b/1")) == ([], [], None)


@pytest.mark.parametrize(
    ("kind", "handle", "reason"),
    [
        (CatalogKind.MODULE, "google/spice", "not a versioned handle"),
        (CatalogKind.MODULE, "google/../1", "not a versioned handle"),
        (CatalogKind.MODULE, "google/lite-model/spice/1", "not of kind Module"),
        (CatalogKind.LITE, "google/spice/1", "PUBLISHER/lite-model/NAME/VERSION"),
        (CatalogKind.PLACEHOLDER, "google/tfjs-model/spice/1", "not of kind Placeholder"),
        (CatalogKind.MODULE, "google/spice/1/deeper/2", "its path would end earlier"),
        (CatalogKind.MODULE, "google/collection/bert/1", "its path would end earlier"),
        (CatalogKind.COLLECTION, "google/collection", "no collection"),
        (CatalogKind.COLLECTION, "google/bert/1", "no collection"),
        (CatalogKind.COLLECTION, "google/collection/.hidden", "no collection"),
        (CatalogKind.PUBLISHER, "Google", "lower-case"),
        (CatalogKind.PUBLISHER, "google/spice", "lower-case"),
    ],
)
def test_an_entry_is_of_its_kind_or_refused(kind: CatalogKind, handle: str, reason: str):
    with pytest.raises(InvalidHandle, match=reason):
        CatalogEntry(kind, handle)


@pytest.mark.parametrize("member", ["google", "", "google/../../etc", "Google/spice/1", "/google/spice/1"])
def test_a_member_that_no_hub_can_have_is_refused(member: str):
    with pytest.raises(InvalidHandle, match="no member"):
        collection("google/collection/c", member)


def test_every_public_model_is_reached_by_listing_from_the_root():
    entries = bundled_catalogue().entries
    catalog = Catalog(entries)
    models = [entry for entry in entries if entry.kind.model_kind is not None]
    assert len(models) > 1000
    for entry in models:
        segments = tuple(entry.handle.split("/"))
        for depth, segment in enumerate(segments):
            assert segment in catalog.children(segments[:depth])
        assert catalog.is_model(entry.handle)
        assert kind_of(parse_handle(entry.handle).name) is (entry.kind.model_kind or Kind.MODEL)
    for entry in entries:
        if entry.kind.model_kind is None:
            assert catalog.is_model(entry.handle) is False
    assert sorted(catalog.handles()) == sorted(entry.handle for entry in models)


def test_a_real_catalogue_is_indexed_and_listed_in_no_time():
    entries = bundled_catalogue().entries
    began_s = time.thread_time()
    catalog = Catalog(entries)
    built_s = time.thread_time() - began_s
    began_s = time.thread_time()
    for folder in ((), ("google",), ("tensorflow", "lite-model"), ("google", "tfjs-model")):
        assert catalog.children(folder)
    listed_s = time.thread_time() - began_s
    print(f"{len(entries)} entries: indexed in {built_s * 1000:.1f} ms, four listings in {listed_s * 1000:.2f} ms")
    assert max(built_s, listed_s) < 0.5  # of the processor, where it takes a tenth of that


def test_merging_with_nothing_copies_nothing() -> None:
    some = Catalog([CatalogEntry(CatalogKind.MODULE, "google/spice/2")])
    assert some.merged(Catalog()) is some
    assert Catalog().merged(some) is some

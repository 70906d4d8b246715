"""The grammar of paths, with and without a catalogue."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import EntryNotFound
from hubfs.hubs.place import Alias, Ambiguous, Folder, InModel, Link, Links, NotInCatalogue, Text
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.handle import is_name, is_typed, parse_handle
from hubfs.hubs.tfhub.names.places import place_of

NOTHING = Catalog()
SPICE_JS = "google/tfjs-model/spice/2/default"
CATALOG = Catalog(
    [
        CatalogEntry(CatalogKind.MODULE, "google/spice/2", documentation="# Spice"),
        CatalogEntry(CatalogKind.MODULE, "google/spice/deeper/1"),
        CatalogEntry(CatalogKind.MODULE, "google/a_b/1"),
        CatalogEntry(CatalogKind.MODULE, "google/a/b/1"),
        CatalogEntry(CatalogKind.TFJS, f"{SPICE_JS}/1", documentation="# Spice for browsers"),
        CatalogEntry(CatalogKind.LITE, "google/lite-model/spice/1"),
        CatalogEntry(CatalogKind.CORAL, "google/coral-model/mobilenet/224/quant/2"),
        CatalogEntry(CatalogKind.PLACEHOLDER, "google/placeholder/1"),
        CatalogEntry(CatalogKind.PLACEHOLDER, "google/aiy/vision/placeholder/1"),
        CatalogEntry(CatalogKind.PUBLISHER, "nobody"),
        CatalogEntry(
            CatalogKind.COLLECTION,
            "google/collection/pitch",
            members=("google/spice", f"{SPICE_JS}/1", "google/a_b/1", "google/a/b/1", "google/never/seen"),
        ),
        CatalogEntry(CatalogKind.COLLECTION, "google/collection/deep/er", members=("google/spice/2",)),
    ]
)


def in_model(handle: str, inner: str = "") -> InModel:
    return InModel(parse_handle(handle), inner)


def folder(path: str) -> Folder:
    return Folder(tuple(path.split("/")) if path else ())


@pytest.mark.parametrize("catalog", [NOTHING, CATALOG], ids=["no catalogue", "catalogue"])
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", folder("")),
        ("/google", folder("google")),
        ("//google//spice/", folder("google/spice")),
        ("/nobody/knows/this", folder("nobody/knows/this")),
        ("/google/1", folder("google/1")),
        ("/google/latest", folder("google/latest")),
        ("/google/lite-model", folder("google/lite-model")),
        ("/google/lite-model/latest", folder("google/lite-model/latest")),
        ("/google/README.md", folder("google/README.md")),
        ("/google/spice/2", in_model("google/spice/2")),
        ("/google/spice/3/", in_model("google/spice/3")),
        ("/google/spice/2/variables/1/x", in_model("google/spice/2", "variables/1/x")),
        ("/google/spice/2/latest", in_model("google/spice/2", "latest")),
        ("/google/spice/2/README.md", in_model("google/spice/2", "README.md")),
        ("/google/spice/2/.git", in_model("google/spice/2", ".git")),
        ("/google/spice/deeper/1", in_model("google/spice/deeper/1")),
        ("/google/spice/latest", Alias("google/spice")),
        ("/nobody/knows/this/latest", Alias("nobody/knows/this")),
        ("/google/lite-model/spice/latest", Alias("google/lite-model/spice")),
    ],
)
def test_untyped_paths_are_what_their_grammar_says(catalog: Catalog, path: str, place: object) -> None:
    assert place_of(path, catalog) == place


@pytest.mark.parametrize("catalog", [NOTHING, CATALOG], ids=["no catalogue", "catalogue"])
@pytest.mark.parametrize(
    "path",
    [
        "/.git",
        "/.Trash-0",
        "/desktop.ini",
        "/AACS",
        "/.hubfs2",
        "/google/.git",
        "/google/spice/.git",
        "/google/lite-model/.git",
        "/google/lite-model/spice/.git",
        "/google/collection/.git",
        "/google/collection/pitch/.git",
        "/google/collection/pitch/sp ice",
        "/Google/collection/pitch",
        "/google/collection/pitch/google_spice_2/x",
        "/google/collection/pitch/google_spice_3",
        "/google/nothing/README.md",
    ],
)
def test_what_cannot_be_does_not_exist(catalog: Catalog, path: str) -> None:
    with pytest.raises(EntryNotFound):
        place_of(path, catalog)


class TestTypedNamesWithoutACatalogue:
    @pytest.mark.parametrize("kind", ["tfjs-model", "lite-model", "coral-model"])
    def test_every_number_may_be_the_version(self, kind: str) -> None:
        name = f"google/{kind}/spice"
        path = f"{name}/2/default/1"
        assert place_of(f"/{name}", NOTHING) == folder(name)
        candidates = (in_model(f"{name}/2", "default/1"), in_model(path))
        assert place_of(f"/{path}", NOTHING) == Ambiguous((*path.split("/"),), candidates, folder(path))

    def test_a_number_right_after_the_kind_is_a_name(self) -> None:
        assert place_of("/google/lite-model/1", NOTHING) == folder("google/lite-model/1")

    @pytest.mark.parametrize(
        "path",
        [
            "google/tfjs-model/spice/2/model.json",
            "google/lite-model/spice/2/model.tflite",
            "google/lite-model/spice/2/README.md",
            "google/lite-model/spice/2/.git",
            "google/lite-model/spice/2/sp ice/1",
        ],
    )
    def test_a_files_name_leads_to_no_model(self, path: str) -> None:
        place = place_of(f"/{path}", NOTHING)
        assert isinstance(place, Ambiguous)
        assert place.otherwise is None

    def test_latest_may_be_beside_versions(self) -> None:
        place = place_of(f"/{SPICE_JS}/latest", NOTHING)
        assert isinstance(place, Ambiguous)
        assert place.candidates == (in_model("google/tfjs-model/spice/2", "default/latest"),)
        assert place.otherwise == Alias(SPICE_JS)


class TestTypedNamesOfTheCatalogue:
    @pytest.mark.parametrize(
        ("path", "place"),
        [
            (f"{SPICE_JS}/1", in_model(f"{SPICE_JS}/1")),
            (f"{SPICE_JS}/1/model.json", in_model(f"{SPICE_JS}/1", "model.json")),
            (f"{SPICE_JS}/1/2/3", in_model(f"{SPICE_JS}/1", "2/3")),
            (f"{SPICE_JS}/1/README.md", in_model(f"{SPICE_JS}/1", "README.md")),
            (SPICE_JS, folder(SPICE_JS)),
            ("google/tfjs-model/spice/2", folder("google/tfjs-model/spice/2")),
            ("google/tfjs-model/spice", folder("google/tfjs-model/spice")),
            ("google/coral-model/mobilenet/224", folder("google/coral-model/mobilenet/224")),
            (f"{SPICE_JS}/latest", Alias(SPICE_JS)),
            (f"{SPICE_JS}/README.md", Text(b"# Spice for browsers")),
            ("google/lite-model/spice/1", in_model("google/lite-model/spice/1")),
        ],
    )
    def test_are_settled_by_it(self, path: str, place: object) -> None:
        assert place_of(f"/{path}", CATALOG) == place

    def test_a_version_that_it_does_not_know_is_a_model_or_nothing(self) -> None:
        for path in (f"{SPICE_JS}/9", "google/lite-model/spice/9", "google/lite-model/typo/9"):
            assert place_of(f"/{path}", CATALOG) == Ambiguous((*path.split("/"),), (in_model(path),), None)

    def test_what_is_beside_the_name_of_a_model_does_not_exist(self) -> None:
        with pytest.raises(EntryNotFound, match="google/tfjs-model/spice/2 is no model"):
            place_of("/google/tfjs-model/spice/2/typo", CATALOG)


@pytest.mark.parametrize("path", ["google/placeholder/1", "google/placeholder/1/x", "google/aiy/vision/placeholder/1"])
def test_a_placeholder_is_no_model_root(path: str) -> None:
    with pytest.raises(EntryNotFound, match="no model"):
        place_of(f"/{path}", CATALOG)
    assert place_of(f"/{path}", NOTHING) == in_model(path.removesuffix("/x"), "x" if path.endswith("/x") else "")


def test_documentation_lies_beside_the_versions() -> None:
    assert place_of("/google/spice/README.md", CATALOG) == Text(b"# Spice")
    with pytest.raises(NotInCatalogue):
        place_of("/google/spice/deeper/README.md", CATALOG)


class TestCollections:
    def test_are_directories_of_links(self) -> None:
        up = "../../../"
        assert place_of("/google/collection/pitch", CATALOG) == Links(
            {
                "google_a_b_1": f"{up}google/a/b/1",
                "google_a_b_1_": f"{up}google/a_b/1",  # no member is lost to another of the same spelling
                "google_spice_2": f"{up}google/spice/2",
                "google_tfjs-model_spice_2_default_1": f"{up}{SPICE_JS}/1",
            },
            (),
        )

    @pytest.mark.parametrize("path", ["/google/collection/pitch", "/google/collection/deep/er"])
    def test_links_lead_to_models(self, path: str) -> None:
        collection = place_of(path, CATALOG)
        assert isinstance(collection, Links)
        assert collection.links
        for name in collection.links:
            link = place_of(f"{path}/{name}", CATALOG)
            assert link == Link(collection.links[name])
            target = place_of(posixpath.normpath(f"{path}/{collection.links[name]}"), CATALOG)
            assert isinstance(target, InModel)
            assert target.inner == ""

    def test_have_directories_above(self) -> None:
        assert place_of("/google/collection", CATALOG) == Links({}, ("deep", "pitch"))
        assert place_of("/google/collection/deep", CATALOG) == Links({}, ("er",))

    @pytest.mark.parametrize("path", ["/google/collection", "/google/collection/pitch", "/google/collection/pitch/x"])
    def test_only_a_catalogue_knows_them(self, path: str) -> None:
        with pytest.raises(NotInCatalogue):
            place_of(path, NOTHING)

    def test_are_never_models_though_they_have_numbers(self) -> None:
        with pytest.raises(EntryNotFound):
            place_of("/google/collection/pitch/1", CATALOG)


def test_names_are_what_versions_may_lie_below() -> None:
    for name in (("google", "spice"), ("google", "lite-model", "x"), ("google", "a", "1")):
        assert is_name(name)
    for other in ((), ("google",), ("google", "lite-model"), ("Google", "x"), ("google", ".x")):
        assert not is_name(other)
    assert is_typed(("google", "tfjs-model"))
    assert not is_typed(("google", "spice"))
    assert not is_typed(("google",))


WORDS = ["google", "spice", "lite-model", "tfjs-model", "collection", "1", "2", "latest", "README.md", "deep", ".git"]


@given(st.lists(st.sampled_from(WORDS), max_size=7), st.sampled_from([NOTHING, CATALOG]))
def test_below_a_model_everything_is_in_it_and_above_nothing_is(segments: list[str], catalog: Catalog) -> None:
    path = "/" + "/".join(segments)
    try:
        place = place_of(path, catalog)
    except EntryNotFound:
        return
    candidates = place.candidates if isinstance(place, Ambiguous) else [place]
    for candidate in candidates:
        if isinstance(candidate, InModel):
            assert "/".join(filter(None, (str(candidate.handle), candidate.inner))) == path[1:]
            deeper = place_of(f"{path}/x", catalog)
            below = deeper.candidates if isinstance(deeper, Ambiguous) else (deeper,)
            assert any(isinstance(one, InModel) and one.handle == candidate.handle for one in below)


@pytest.mark.parametrize("kind", ["", "lite-model/"])
def test_a_version_or_name_that_is_too_long_for_a_path_does_not_exist(kind: str) -> None:
    digits = "1" * 255
    place = place_of(f"/google/{kind}spice/{digits}/x", CATALOG)
    found = place.candidates[0] if isinstance(place, Ambiguous) else place
    assert found == in_model(f"google/{kind}spice/{digits}", "x")
    for path in (f"/google/{kind}spice/{digits}1", f"/google/{kind}spice/{digits}1/x", f"/google/{kind}{'x' * 256}"):
        with pytest.raises(EntryNotFound):
            place_of(path, CATALOG)

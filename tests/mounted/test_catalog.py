"""A catalogue in the mount: what is listed, what is not, and that listing asks nobody about models."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.catalogue import (
    FILES,
    SAVED_MODEL,
    Handles,
    HandlesHub,
    handles_hub,
    made_up_handles,
    public_handles,
)
from tests.support.files import files, listed
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.mount import Machine, Mount, is_mounted, mounted
from tests.support.programs import ran
from tests.support.serving import serving, write_model
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted


@pytest.fixture(
    scope="module",
    params=["made up", "real"],
)
def handles(request: pytest.FixtureRequest) -> Handles:
    return made_up_handles() if request.param == "made up" else public_handles()


@pytest.fixture(scope="module")
def hub(handles: Handles) -> Iterator[HandlesHub]:
    with handles_hub(handles) as hub:
        yield hub


@pytest.fixture(scope="module")
def mount(handles: Handles, hub: HandlesHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """Mounted with the catalogue, and shared by tests that ask for different things."""
    home = tmp_path_factory.mktemp("catalogue")
    (home / "catalog.jsonl").write_text(handles.to_json_lines())
    machine = Machine(home / "machine", {"HUBFS_FUSE_LIBRARY": "session"})
    with mounted(
        machine, home / "hub", hub.url, "--format", "compressed", "--catalog", home / "catalog.jsonl"
    ) as mount:
        yield mount


def test_listing_everything_above_the_models_asks_for_none_of_them(
    mount: Mount, hub: HandlesHub, handles: Handles
) -> None:
    before = len(hub.asked_for())
    assert set(_model_roots(mount.path, handles)) == set(handles.models)
    assert len(hub.asked_for()) == before


def test_a_long_listing_above_the_models_asks_for_none_of_them_and_a_look_inside_does(
    machine: Machine, tmp_path: Path
) -> None:
    catalog = tmp_path / "catalog.tsv"
    catalog.write_text("Module\tacme/embeddings/3\nModule\tacme/embeddings/4\n")
    with HttpOrigin() as origin:
        put(origin, "/acme/embeddings/3", "tf-hub-format=compressed", gzipped(tar_of({"saved_model.pb": b"graph"})))
        with mounted(machine, tmp_path / "hub", origin.url, "--catalog", catalog) as mount:
            names = mount.path / "acme" / "embeddings"
            before = {path.name: path.lstat().st_mtime_ns for path in names.iterdir()}
            assert before.keys() == {"3", "4", "latest"}
            assert not [one for one in origin.requests if one.path.startswith("/acme")]
            assert os.listdir(names / "3") == ["saved_model.pb"]
            assert (names / "3").stat().st_mtime_ns == before["3"]
            with pytest.raises(FileNotFoundError):
                os.listdir(names / "4")
            with pytest.raises(FileNotFoundError):
                (names / "4" / "saved_model.pb").stat()


def test_publishers_and_names_are_listed_quickly(mount: Mount, hub: HandlesHub, handles: Handles) -> None:
    before = len(hub.asked_for())
    watch = Stopwatch()
    done = ran(["find", mount.path, "-mindepth", "1", "-maxdepth", "2", "-printf", "%P\n"], timeout=60)
    took_s = watch.took_s()
    assert (done.returncode, done.stderr) == (0, "")
    found = {line for line in done.stdout.splitlines() if not line.startswith(".hubfs")}
    names = [*handles.models, *handles.collections]
    assert found == {"/".join(name.split("/")[:depth]) for name in names for depth in (1, 2)}
    assert len(hub.asked_for()) == before
    assert took_s < 5


def test_ls_of_a_name_shows_its_versions_and_latest(mount: Mount, handles: Handles) -> None:
    for name in sorted({handle.rpartition("/")[0] for handle in handles.models})[::37]:
        versions = {handle.rpartition("/")[2] for handle in handles.models if handle.rpartition("/")[0] == name}
        shown = set(os.listdir(mount.path / name))
        assert versions | {"latest"} <= shown
        assert not (shown - versions - {"latest"}) & {str(number) for number in range(100)}


def test_every_handle_is_a_model_of_its_kind(mount: Mount, hub: HandlesHub, handles: Handles) -> None:
    names = {handle.rpartition("/")[0] for handle in handles.models}

    def asked_for() -> list[str]:
        """The handles alone: a question for a name, which a listing asked behind its reader's back, may come late."""
        return [path for path in hub.asked_for() if path not in names]

    before = len(asked_for())
    for handle, kind in handles.models.items():
        assert (mount.path / handle / next(iter(FILES[kind]))).is_file(), handle
    asked = asked_for()[before:]
    assert set(asked) == set(handles.models), "other handles were tried than those of the catalogue"
    for handle in handles.models:
        assert (mount.path / handle).is_dir()
    assert len(asked_for()) == before + len(asked), "a model that was found was asked for again"


def test_handles_are_found_without_a_catalogue_as_well(
    machine: Machine, tmp_path: Path, hub: HandlesHub, handles: Handles
) -> None:
    with mounted(machine, tmp_path / "hub", hub.url, "--format", "compressed") as mount:
        for handle in [*handles.models][::5]:
            assert (mount.path / handle / next(iter(FILES[handles.models[handle]]))).is_file(), handle


def test_placeholders_and_collections_are_no_models(mount: Mount, hub: HandlesHub, handles: Handles) -> None:
    before = hub.asked_for()
    for placeholder in handles.placeholders:
        with pytest.raises(FileNotFoundError):
            (mount.path / placeholder).stat()
    for collection in handles.collections:
        assert (mount.path / collection).is_dir()
        with pytest.raises(FileNotFoundError):
            (mount.path / collection / "1" / "saved_model.pb").stat()
        with pytest.raises(FileNotFoundError):
            (mount.path / f"{collection}x").stat()
    # Four real placeholders have a number in their names, and what lies above it could be a model.
    assert {*hub.asked_for()[len(before) :]}.isdisjoint({*handles.placeholders, *handles.collections})


def test_a_typo_does_not_exist(mount: Mount, handles: Handles) -> None:
    for handle in [*handles.models][::23]:
        name, _, version = handle.rpartition("/")
        for typo in (f"{name}x/{version}", f"{name}/{version}99"):
            with pytest.raises(FileNotFoundError):
                (mount.path / typo).stat()
            with pytest.raises(FileNotFoundError):
                (mount.path / typo / "saved_model.pb").read_bytes()


def test_junk_names_cost_no_request(mount: Mount, hub: HandlesHub, handles: Handles) -> None:
    before = len(hub.origin.requests)
    for folder in ("", "google/", f"{next(iter(handles.collections)).rpartition('/')[0]}/"):
        for junk in (".git", ".Trash-0", ".hidden"):
            with pytest.raises(FileNotFoundError):
                (mount.path / f"{folder}{junk}").stat()
    for junk in ("desktop.ini", "AACS"):
        with pytest.raises(FileNotFoundError):
            (mount.path / junk).stat()
    assert len(hub.origin.requests) == before


def test_collections_are_symlinks_to_models_that_load(machine: Machine, tmp_path: Path) -> None:
    handles = made_up_handles(60)
    (tmp_path / "catalog.jsonl").write_text(handles.to_json_lines())
    with (
        handles_hub(handles) as hub,
        mounted(machine, tmp_path / "hub", hub.url, "--catalog", tmp_path / "catalog.jsonl") as mount,
    ):
        collection, members = next(iter(handles.collections.items()))
        links = sorted((mount.path / collection).iterdir())
        assert hub.asked_for() == []
        assert sorted(str(link.resolve().relative_to(mount.path)) for link in links) == sorted(members)
        for link in links:
            assert link.is_symlink()
            assert files(link) == SAVED_MODEL


def test_documentation_is_imported_and_shown_beside_the_versions(machine: Machine, tmp_path: Path) -> None:
    documents = {
        "acme/models/embeddings/1.md": "# Module acme/embeddings/1\n\nThe first ones.\n",
        "acme/models/embeddings/2.md": "# Module acme/embeddings/2\n\nEmbeds, in 7 languages: \u00e4\u00f6\u00fc.\n",
        "acme/models/ears/1.md": "# Lite acme/e&zwnj;ars/1\n\nListens.\n",
        "acme/models/pages/1.md": "# Placeholder acme/pages/1\n\nSee the others.\n",
        "acme/collections/all/1.md": "# Collection acme/all/1\n\n* [E](https://tfhub.dev/acme/embeddings/2)\n",
        "acme/acme.md": "# Publisher acme\n\nWe make models.\n",
    }
    for name, text in documents.items():
        path = tmp_path / "checkout" / "assets" / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    catalog = tmp_path / "catalog.jsonl"
    done = machine.hubfs("catalog", "import", tmp_path / "checkout", "--output", catalog)
    assert done.returncode == 0, done.stderr
    assert sorted(machine.hubfs("catalog", "ls", catalog).stdout.splitlines()) == [
        "Collection\tacme/collection/all",
        "Lite\tacme/lite-model/ears/1",
        "Module\tacme/embeddings/1",
        "Module\tacme/embeddings/2",
        "Placeholder\tacme/pages/1",
        "Publisher\tacme",
    ]
    models = Handles({"acme/embeddings/1": "Module", "acme/embeddings/2": "Module"}, [], {})
    with handles_hub(models) as hub, mounted(machine, tmp_path / "hub", hub.url, "--catalog", catalog) as mount:
        acme = mount.path / "acme"
        assert sorted(os.listdir(acme)) == ["collection", "embeddings", "lite-model"]
        assert sorted(os.listdir(acme / "embeddings")) == ["1", "2", "README.md", "latest"]
        assert (acme / "embeddings" / "README.md").read_text() == documents["acme/models/embeddings/2.md"]
        assert (acme / "lite-model" / "ears" / "README.md").read_text() == documents["acme/models/ears/1.md"]
        assert os.listdir(acme / "collection" / "all") == ["acme_embeddings_2"]
        assert hub.asked_for() == []
        assert files(acme / "collection" / "all" / "acme_embeddings_2") == SAVED_MODEL


def test_the_document_of_a_hub_is_used_without_being_asked_for(machine: Machine, tmp_path: Path) -> None:
    served = tmp_path / "served"
    model = write_model(served, "acme/embeddings/3")
    write_model(served, "acme/text/deeper/1")
    (served / "acme" / "lite-model" / "ears" / "2" / "default").mkdir(parents=True)
    (served / "acme" / "lite-model" / "ears" / "2" / "default" / "1.tflite").write_bytes(FILES["Lite"]["model.tflite"])
    with serving(served) as url, mounted(machine, tmp_path / "hub", url) as mount:
        assert sorted(os.listdir(mount.path)) == [".hubfs", "acme"]
        assert sorted(os.listdir(mount.path / "acme")) == ["embeddings", "lite-model", "text"]
        assert sorted(os.listdir(mount.path / "acme" / "embeddings")) == ["3", "latest"]
        assert listed(mount.path / "acme" / "lite-model") >= {"ears/2/default/1/model.tflite"}
        assert files(mount.path / "acme" / "embeddings" / "3") == model


def test_a_changed_catalogue_shows_without_a_new_mount(machine: Machine, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.tsv"
    catalog.write_text("# ours\nModule\tacme/embeddings/3\n")
    with (
        handles_hub(Handles({}, [], {})) as hub,
        mounted(machine, tmp_path / "hub", hub.url, "--catalog", catalog) as mount,
    ):
        assert sorted(os.listdir(mount.path / "acme")) == ["embeddings"]
        catalog.write_text("Module\tacme/embeddings/3\nModule\tacme/tokens/1\n")
        assert eventually(lambda: sorted(os.listdir(mount.path / "acme")) == ["embeddings", "tokens"], 3)
        catalog.write_text("Module\tno handle\n")
        assert eventually(lambda: bool(os.listdir(mount.path / "acme")) and f"{catalog}" in mount.log(), 3)
        assert sorted(os.listdir(mount.path / "acme")) == ["embeddings", "tokens"]


def test_a_catalogue_that_cannot_be_used_is_named_with_its_line(machine: Machine, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.tsv"
    catalog.write_text("Module\tacme/embeddings/3\nModule\tno handle\n")
    mountpoint = tmp_path / "hub"
    mountpoint.mkdir()
    done = machine.hubfs("mount", mountpoint, "--hub", "http://127.0.0.1:9", "--catalog", catalog)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert str(catalog) in line
    assert "line 2" in line
    assert not is_mounted(mountpoint)


def _model_roots(folder: Path, handles: Handles, above: str = "") -> Iterator[str]:
    """The models that a walk meets. As `find` does, it goes by what the listing says, and it looks into no model."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != ".hubfs"]
    for name in names:
        if above + name in handles.models:
            yield above + name
        else:
            yield from _model_roots(folder / name, handles, f"{above}{name}/")

"""The public catalogue that comes with hubfs."""

import sys
import time

import pytest
from click.testing import CliRunner

from hubfs.cli import main
from hubfs.errors import InvalidHandle, ModelNotFound
from hubfs.hubs.registry import is_default
from hubfs.hubs.tfhub.bundled import bundled_catalogue, kaggle_handle, tfhub_handle
from hubfs.hubs.tfhub.names.catalogue import CatalogKind, KaggleName
from tests.support.programs import output_of


def test_every_public_handle_is_in_it_with_what_is_known_of_the_model():
    entries = bundled_catalogue().entries
    collections = [entry for entry in entries if entry.kind is CatalogKind.COLLECTION]
    models = [entry for entry in entries if entry.kind is not CatalogKind.COLLECTION]
    assert len(models) == 2730
    assert (len(collections), sum(len(entry.members) for entry in collections)) == (44, 821)
    assert sum(entry.kaggle is not None for entry in models) == 941
    assert sum(entry.kaggle is not None and entry.kaggle.seen for entry in models) == 682
    (spice,) = [entry for entry in entries if entry.handle == "google/spice/2"]
    assert (spice.format, spice.task) == ("saved_model", "audio-pitch-extraction")


@pytest.mark.parametrize(
    ("handle", "name"),
    [
        ("google/spice/2", KaggleName("google/spice/tensorFlow1/spice/2")),
        ("deepmind/biggan-128/1", KaggleName("deepmind/biggan/tensorFlow1/128/1", seen=False)),
        ("google/lite-model/spice/1", None),
        ("nobody/nothing/1", None),
    ],
)
def test_it_knows_what_kaggle_calls_a_model(handle: str, name: KaggleName | None):
    known = bundled_catalogue().entry(handle)
    assert (known and known.kaggle) == name


def test_every_model_whose_name_at_kaggle_is_known_is_found_by_either_name():
    known = {entry.handle: entry.kaggle.name for entry in bundled_catalogue().entries if entry.kaggle is not None}
    assert len(known) == 941
    assert {handle: kaggle_handle(handle) for handle in known} == known
    assert {tfhub_handle(name): name for name in known.values()} == known


@pytest.mark.parametrize(
    "text",
    [
        "google/spice/2",
        "google/spice",
        "tfhub:google/spice/2",
        "https://tfhub.dev/google/spice/2?tf-hub-format=compressed",
    ],
)
def test_a_handle_in_every_spelling_has_its_name_at_kaggle(text: str):
    assert kaggle_handle(text) == "google/spice/tensorFlow1/spice/2"


@pytest.mark.parametrize(
    "text",
    [
        "google/spice/tensorFlow1/spice/2",
        "google/spice/tensorflow1/spice/2",
        "google/spice/tensorFlow1/spice",
        "kaggle:google/spice/tensorFlow1/spice/2",
        "kaggle://google/spice/tensorFlow1/spice",
        "https://www.kaggle.com/models/google/spice/TensorFlow1/spice/2?tfhub-redirect=true",
        "https://kaggle.com/models/google/spice/frameworks/tensorFlow1/variations/spice/versions/2",
        "https://www.kaggle.com/models/google/spice/frameworks/tensorFlow1/variations/spice",
    ],
)
def test_a_name_at_kaggle_in_every_spelling_has_its_handle(text: str):
    assert tfhub_handle(text) == "google/spice/2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("google/spice/3", "does not know what Kaggle calls google/spice/3"),
        ("google/lite-model/spice/1", "does not know what Kaggle calls google/lite-model/spice/1"),
        ("nobody/nothing", "does not know what Kaggle calls nobody/nothing"),
    ],
)
def test_a_model_without_a_known_name_at_kaggle_is_not_found(text: str, reason: str):
    with pytest.raises(ModelNotFound, match=reason):
        kaggle_handle(text)


@pytest.mark.parametrize(
    "text", ["google/gemma/keras/gemma_2b/1", "google/spice/tensorFlow1/spice/3", "google/spice/tensorFlow2/spice"]
)
def test_a_name_at_kaggle_that_no_handle_has_is_not_found(text: str):
    with pytest.raises(ModelNotFound, match=f"is {text} at Kaggle"):
        tfhub_handle(text)


@pytest.mark.parametrize(
    "text", ["", "google/spice/2", "google/spice/tensorFlow1/spice/two", "a/../b/c/1", "https://elsewhere.example/a/b"]
)
def test_what_cannot_be_a_name_at_kaggle_is_refused(text: str):
    with pytest.raises(InvalidHandle, match="is no handle of Kaggle Models"):
        tfhub_handle(text)


def test_the_url_of_another_hub_is_no_handle():
    with pytest.raises(InvalidHandle, match=r"is no handle of https://tfhub\.dev"):
        kaggle_handle("https://example.com/google/spice/2")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "output"),
    [
        (("--kaggle", "google/spice/2"), 0, "google/spice/tensorFlow1/spice/2\n"),
        (("--tfhub", "kaggle:google/spice/tensorFlow1/spice/2"), 0, "google/spice/2\n"),
        (("--kaggle", "google/spice/3"), 1, "does not know"),
        (("--kaggle", "--gcs", "google/spice/2"), 2, "exclude each other"),
    ],
)
def test_resolve_translates_in_either_direction_without_a_mount(
    arguments: tuple[str, ...], exit_code: int, output: str
):
    done = CliRunner().invoke(main, ["resolve", *arguments])
    assert done.exit_code == exit_code
    assert output in done.output


def test_every_member_of_a_collection_leads_to_a_model_that_it_has():
    catalogue = bundled_catalogue()
    for entry in catalogue.entries:
        if entry.kind is CatalogKind.COLLECTION:
            members = catalogue.collection(entry.handle)
            assert members
            assert all(map(catalogue.is_model, members)), entry.handle


def test_it_is_read_in_tens_of_milliseconds_and_once():
    bundled_catalogue.cache_clear()
    begun_s = time.process_time()  # of the processor: others work on this machine, too
    first = bundled_catalogue()
    took_s = time.process_time() - begun_s
    print(f"read in {took_s * 1000:.1f} ms")
    assert took_s < 0.5  # ten times what it takes
    assert bundled_catalogue() is first


def test_a_command_that_needs_no_catalogue_reads_none():
    program = """if True:
        import sys
        from hubfs.cli import main
        opened = []
        sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)
        try:
            main(["--help"])
        finally:
            assert not [path for path in opened if str(path).endswith(".tsv")], opened
    """
    assert "Usage" in output_of([sys.executable, "-c", program])


@pytest.mark.parametrize(
    "url", ["https://tfhub.dev", "https://tfhub.dev/", "https://TFHUB.dev:443", "https://a:b@tfhub.dev"]
)
def test_it_is_of_the_public_hub(url: str):
    assert is_default(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://tfhub.dev",
        "https://tfhub.dev/mirror",
        "https://tfhub.dev:8443",
        "https://tfhub.dev.example",
        "https://mirror.example/tfhub.dev",
        "gs://tfhub.dev",
        "https://tfhub.dev:port",
        "",
    ],
)
def test_it_is_of_no_other_hub(url: str):
    assert not is_default(url)

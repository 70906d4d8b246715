"""What the README.md of a model of https://tfhub.dev says."""

from collections.abc import Iterator

import pytest

from hubfs.hubs.hub import Hub, Means, WayTold, make_hub
from hubfs.hubs.place import InModel, Text
from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.hubs.tfhub.names.catalogue import Catalog, CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.readme import readme
from hubfs.model_id import ModelId
from tests.support.http_clients import gcs_client, http_client
from tests.support.known import known

WAYS = [WayTold("the public bucket", "gs://public"), WayTold("Kaggle", "https://kaggle")]
PAGE = "https://www.kaggle.com/models/google/spice/tensorFlow1/spice"


def test_it_says_where_each_version_lives_and_how_it_was_read() -> None:
    text = readme("google/spice", bundled_catalogue(), WAYS, {"2": "Kaggle"}).decode()
    assert text.splitlines() == [
        "# google/spice",
        "",
        "| version | format | task | where it lives now |",
        "|---|---|---|---|",
        f"| 1 | saved_model | audio-pitch-extraction | <{PAGE}/1> (deduced from another version) |",
        f"| 2 | saved_model | audio-pitch-extraction | <{PAGE}/2> |",
        "",
        "https://tfhub.dev redirects to Kaggle since November 2023.",
        "This mount asks for models by the public bucket (gs://public), Kaggle (https://kaggle), in this order.",
        "Version 2 is read by Kaggle.",
    ]


def test_documentation_that_there_is_comes_first() -> None:
    catalog = Catalog([CatalogEntry(CatalogKind.MODULE, "google/made-up/1", documentation="# Made up\n\nYes.\n")])
    lines = readme("google/made-up", catalog, WAYS, {}).decode().splitlines()
    assert lines[:4] == ["# Made up", "", "Yes.", ""]
    assert "| 1 |  |  | its name at Kaggle is not known |" in lines


@pytest.fixture
def hubs() -> Iterator[dict[str, Hub]]:
    with gcs_client() as gcs, http_client() as http:
        yield {url: make_hub(url, Means(http, gcs)) for url in ("https://tfhub.dev", "https://hub.example")}
        assert http.stats().requests == 0


def test_every_model_of_the_public_hub_has_one(hubs: dict[str, Hub]) -> None:
    catalog = bundled_catalogue()
    shown = {url: hub.names.shown(("google", "spice"), known()) for url, hub in hubs.items()}
    assert {url: [*names.texts] for url, names in shown.items()} == {
        "https://tfhub.dev": ["README.md"],
        "https://hub.example": [],
    }
    hub = hubs["https://tfhub.dev"]
    for name in {handle.rpartition("/")[0] for handle in catalog.handles()}:
        place = hub.names.place(f"/{name}/README.md")
        assert isinstance(place, Text)
        assert place.text.startswith(f"# {name}\n".encode())
    assert hub.names.place("/google/spice/2/README.md") == InModel(ModelId("google/spice", "2"), "README.md")
    assert not hub.names.shown(("google",), known()).texts

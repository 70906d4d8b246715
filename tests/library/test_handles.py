import pytest

from hubfs.errors import InvalidHandle
from hubfs.library.handles import asked_for
from hubfs.settings.config import load

COMMIT = "5617a9f61b028005a4858fdac845db406aefb181"


def found(text: str, *hubs: str, **flags: object) -> tuple[str, str]:
    config, (asked,) = asked_for(load({"hub": hubs, **flags}, {}), [text])
    return config.each_hub()[asked.hub].hub, asked.path


@pytest.mark.parametrize(
    ("text", "hubs", "hub", "path"),
    [
        ("google/spice/2", (), "https://tfhub.dev", "/google/spice/2"),
        ("google/spice", (), "https://tfhub.dev", "/google/spice/latest"),
        ("tfhub:google/spice/2", (), "https://tfhub.dev", "/google/spice/2"),
        ("https://tfhub.dev/google/spice/2", ("https://example.com",), "https://tfhub.dev", "/google/spice/2"),
        ("google/spice/2", ("https://example.com",), "https://example.com", "/google/spice/2"),
        ("https://example.com/google/spice/2", (), "https://example.com", "/google/spice/2"),
        ("gs://bucket/hub/google/spice/2", ("gs://bucket/hub",), "gs://bucket/hub", "/google/spice/2"),
        ("hf:BAAI/bge-m3", (), "hf:", "/BAAI/bge-m3"),
        ("hf:BAAI/bge-m3@v1", ("hf:BAAI",), "hf:BAAI", "/BAAI/bge-m3@v1"),
        (f"hf:BAAI/bge-m3/{COMMIT}", (), "hf:", f"/BAAI/bge-m3@{COMMIT}"),
        ("https://huggingface.co/BAAI/bge-m3/tree/main", (), "hf:", "/BAAI/bge-m3@main"),
        ("BAAI/bge-m3", ("hf:",), "hf:", "/BAAI/bge-m3"),
        ("kaggle:google/yamnet/tensorFlow2/yamnet/1", (), "kaggle:", "/google/yamnet/tensorFlow2/yamnet/1"),
        (
            "https://www.kaggle.com/models/google/yamnet/tensorFlow2/yamnet/1",
            (),
            "kaggle:",
            "/google/yamnet/tensorFlow2/yamnet/1",
        ),
        ("b/google/spice/2", ("a=https://a.example", "b=https://b.example"), "https://b.example", "/google/spice/2"),
        ("google/spice/2", ("a=https://a.example", "b=https://b.example"), "https://a.example", "/google/spice/2"),
    ],
)
def test_a_handle_leads_to_its_hub(text: str, hubs: tuple[str, ...], hub: str, path: str) -> None:
    assert found(text, *hubs) == (hub, path)


@pytest.mark.parametrize(
    "text", ["", "spice", "gs://bucket/x/1", "s3://x/y/1", "hf:a/../b", "nobody:a/b/1", "kaggle:a", "://"]
)
def test_a_text_that_is_no_handle_is_refused(text: str) -> None:
    with pytest.raises(InvalidHandle):
        found(text)


def test_credentials_of_one_hub_are_for_no_other() -> None:
    config, asked = asked_for(load({"token": "secret"}, {}), ["google/spice/2", "hf:BAAI/bge-m3", "google/yamnet/1"])
    tokens = {own.hub: own.token for own in config.each_hub().values()}
    assert tokens == {"https://tfhub.dev": "secret", "hf:": None}
    assert [one.hub for one in asked] == ["0", "1", "0"]

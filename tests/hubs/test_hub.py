import pytest

from hubfs.cache.disk.layout import CacheLayout
from hubfs.hubs.hub import label_of
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.model_id import model_name

SPICE = parse_handle("google/spice/2")


@pytest.mark.parametrize(
    ("hub", "label"),
    [
        ("https://tfhub.dev", "tfhub.dev"),
        ("https://tfhub.dev/", "tfhub.dev"),
        ("http://127.0.0.1:8080", "http:%2F%2F127.0.0.1:8080"),
        ("http://127.0.0.1:8080/a/prefix/", "http:%2F%2F127.0.0.1:8080%2Fa%2Fprefix"),
        ("https://user:secret@hub.example/x", "hub.example%2Fx"),
        ("https://hub.example/a@b", "hub.example%2Fa%40b"),
        ("http://[::1]:80", "http:%2F%2F%5B::1%5D:80"),
        ("unverified+https://tfhub.dev", "unverified%2Bhttps:%2F%2Ftfhub.dev"),
        ("gs://bucket/prefix", "gs:%2F%2Fbucket%2Fprefix"),
        ("gs://bucket/prefix/", "gs:%2F%2Fbucket%2Fprefix"),
        ("gs://bucket", "gs:%2F%2Fbucket"),
        ("gs://bucket/odd #1?/50%2F", "gs:%2F%2Fbucket%2Fodd%20%231%3F%2F50%252F"),
    ],
)
def test_a_hub_is_one_path_segment(hub: str, label: str) -> None:
    assert label_of(hub) == label
    assert "/" not in label
    assert "@" not in label


def test_hubs_that_differ_in_their_path_have_different_names() -> None:
    hubs = ["https://h", "https://h/a", "https://h/a/b", "https://h/a%2Fb", "https://h:1", "gs://h", "gs://h/a"]
    hubs += ["gs://h/a#b", "gs://h/a?b", "gs://h/a%2Fb", "gs://h/a/b", "gs://h2/a"]
    assert len({label_of(hub) for hub in hubs}) == len(hubs)


def test_a_model_is_named_by_hub_handle_and_identity() -> None:
    name = model_name(label_of("https://tfhub.dev"), SPICE, '"etag"')
    assert name.startswith("tfhub.dev/google/spice/2@")
    assert name == model_name(label_of("https://tfhub.dev/"), SPICE, '"etag"')
    others = [
        model_name(label_of("https://tfhub.dev"), SPICE, '"other"'),
        model_name(label_of("https://tfhub.dev/x"), SPICE, '"etag"'),
        model_name(label_of("https://tfhub.dev"), parse_handle("google/spice/3"), '"etag"'),
    ]
    assert len({name, *others}) == 4


def test_whatever_the_identity_the_name_is_a_path_in_the_cache(tmp_path: object) -> None:
    layout = CacheLayout(tmp_path)  # type: ignore[arg-type]
    for identity in ("", "/../..", "a@b", "\0", 'W/"x"', "ü" * 300):
        path = layout.model(model_name(label_of("https://tfhub.dev"), SPICE, identity))
        assert path.parent == layout.models_root / "tfhub.dev" / "google" / "spice"

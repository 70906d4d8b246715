import time

import pytest

from hubfs.blobs import json_text
from hubfs.blobs.gcs.object import page_of
from hubfs.errors import Damaged, InvalidConfig
from hubfs.hubs.tfhub.names import file as catalog_file
from hubfs.hubs.tfhub.names.file import parse_catalog
from hubfs.hubs.tfhub.tfjs import _shards

MANY = 20 << 20

HOSTILE = {
    "lists": "[" + "[]," * (MANY // 3) + "[]]",
    "maps": '{"a": [' + "{}," * (MANY // 3) + "{}]}",
    "deep": "[" * MANY,
    "deep in a map": '{"a":' * (MANY // 5),
    "numbers": "[" + "1," * (MANY // 2) + "1]",
}


def test_what_is_small_is_understood() -> None:
    assert json_text.parse(b'{"a": [1, "\\u00e9"]}') == json_text.parse('{"a": [1, "\\u00e9"]}') == {"a": [1, "é"]}
    assert len(json_text.parse(f'"{"x" * MANY}"')) == MANY


@pytest.mark.parametrize(("text", "reason"), [("[1", "not JSON: .* at column"), ("[" * 100_000, "nested too deeply")])
def test_what_is_no_json_is_a_value_error(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        json_text.parse(text)


@pytest.mark.parametrize("shape", HOSTILE)
def test_what_would_hold_the_lock_for_seconds_is_refused_unread(shape: str) -> None:
    text = HOSTILE[shape]
    began_s = time.thread_time()
    with pytest.raises(ValueError, match=r"has about \d+ values, more than 500000"):
        json_text.parse(text.encode())
    with pytest.raises(Damaged, match=r"is not a model.json of TF.js \(ValueError: it has about"):
        _shards(text.encode(), "https://hub.test/model.json")
    with pytest.raises(ValueError, match="has about"):
        page_of("bucket", text.encode())
    with pytest.raises(InvalidConfig, match=r"hub\.test, line 1: (it has about|'\[\[\[|it must read)"):
        parse_catalog(text if text.startswith("{") else f'{{"a": {text}}}', "hub.test")
    assert time.thread_time() - began_s < 2


def test_a_catalogue_names_no_more_than_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"Module\tgoogle/spice/{number}\n" for number in range(10))
    monkeypatch.setattr(catalog_file, "MOST_NAMES", 10)
    assert len(parse_catalog(lines, "hub.test")) == 10
    for more in ("Module\ta/b/1\n", '{"kind": "Collection", "handle": "a/collection/b", "members": ["a/b"]}\n'):
        with pytest.raises(InvalidConfig, match=r"hub\.test, line 11: up to here it names 1[12] models and members"):
            parse_catalog(lines + more, "hub.test")


def test_a_catalogue_of_deep_handles_keeps_no_multiple_of_itself() -> None:
    deep = "/".join(["a" * 250] * 30)
    with pytest.raises(InvalidConfig, match=r"characters of directories; at most 200000, and 67108864, are taken"):
        parse_catalog("".join(f"Module\tp/{deep}/{number}\n" for number in range(2000)), "hub.test")


def test_names_in_a_bucket_are_no_longer_than_the_store_takes_them() -> None:
    with pytest.raises(ValueError, match="at most 1024"):
        page_of("bucket", b'{"prefixes": ["%b"]}' % (b"a" * 1025))
    with pytest.raises(TypeError, match="at most 1024"):
        page_of("bucket", b'{"items": [{"name": "%b", "size": "1", "generation": "1"}]}' % (b"a" * 1025))

import errno
import json
import os
from pathlib import Path

import pytest

from hubfs.blobs.checksums import crc32c
from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout

HANDLE = "127.0.0.1:8080%2Fhub/google/my.model/2"
INDEX = {"form": "compressed", "entries": [["a/\udc80b", 5], ["ü", 1]]}


@pytest.fixture
def layout(tmp_path: Path) -> CacheLayout:
    layout = CacheLayout(tmp_path)
    layout.prepare()
    return layout


def test_what_was_saved_is_loaded_after_a_restart(layout: CacheLayout) -> None:
    IndexStore(layout).save(f"{HANDLE}@abc", INDEX)
    assert IndexStore(layout).load(HANDLE) == INDEX


def test_what_was_never_saved_is_none(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    store.save(f"{HANDLE}2@abc", INDEX)
    assert store.load(HANDLE) is None
    assert store.load("no/such/model/1") is None
    assert store.load("../../x/1") is None


def test_the_newest_identity_wins(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    for age_s, identity in ((1, "b"), (3, "c"), (2, "a")):
        store.save(f"{HANDLE}@{identity}", {"identity": identity})
        os.utime(layout.index(f"{HANDLE}@{identity}"), (1e9 - age_s, 1e9 - age_s))
    assert store.load(HANDLE) == {"identity": "b"}


def sealed(version: int, text: bytes) -> bytes:
    checksum = crc32c(f"{HANDLE}@new\0".encode() + text)
    return b'{"version": %d, "crc32c": %d, "index":\n%b\n}\n' % (version, checksum, text)


DAMAGES = [b"", b'{"form": ', b"[1]", b"\xff\xfe", b"null", bytes(300), json.dumps(INDEX).encode(), b"[" * 100_000]
NOT_AN_INDEX = [sealed(2, b"[1]"), sealed(2, b"nul"), sealed(3, b"{}"), sealed(2, b'{"a": 1}').replace(b"1}", b"2}")]


@pytest.mark.parametrize("damage", [*DAMAGES, *NOT_AN_INDEX])
def test_a_broken_index_is_left_aside_for_an_older_one(layout: CacheLayout, damage: bytes) -> None:
    store = IndexStore(layout)
    store.save(f"{HANDLE}@new", INDEX)
    layout.index(f"{HANDLE}@new").write_bytes(damage)
    assert store.load(HANDLE) is None
    store.save(f"{HANDLE}@old", INDEX)
    os.utime(layout.index(f"{HANDLE}@old"), (1, 1))
    assert store.load(HANDLE) == INDEX


def test_an_index_is_json_for_people(layout: CacheLayout) -> None:
    IndexStore(layout).save(f"{HANDLE}@abc", INDEX)
    assert json.loads(layout.index(f"{HANDLE}@abc").read_text())["index"] == INDEX


def test_indexes_of_another_model_or_identity_are_left_aside(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    store.save("hub/a/b/1@x", INDEX)
    store.save_file("hub/a/b/1@x", b"spans")
    layout.model("hub/a/b/1@x").rename(layout.model("hub/a/b/1@y"))
    assert (store.load("hub/a/b/1"), store.load_file("hub/a/b/1@y")) == (None, None)
    layout.model("hub/a/b/1@y").rename(layout.model("hub/a/b/2@x"))
    assert (store.load("hub/a/b/2"), store.load_file("hub/a/b/2@x")) == (None, None)


@pytest.mark.parametrize("size_bytes", range(18))
def test_a_torn_archive_index_is_none(layout: CacheLayout, size_bytes: int) -> None:
    store = IndexStore(layout)
    store.save_file(f"{HANDLE}@abc", b"spans")
    whole = layout.archive_index(f"{HANDLE}@abc").read_bytes()
    assert len(whole) == 17
    for damage in (whole[:size_bytes].ljust(17, b"\0"), whole[:size_bytes], whole[:size_bytes] + b"x"):
        layout.archive_index(f"{HANDLE}@abc").write_bytes(damage)
        assert store.load_file(f"{HANDLE}@abc") == (b"spans" if damage == whole else None)


def test_what_kills_left_of_earlier_saves_goes_after_an_hour(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    store.save(f"{HANDLE}@abc", INDEX)
    folder = layout.model(f"{HANDLE}@abc")
    (folder / "index.json.old").write_text("half")
    os.utime(folder / "index.json.old", (1, 1))
    (folder / "index.json.new").write_text("half")
    store.save(f"{HANDLE}@abc", INDEX)
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "index.json.new"]


def test_a_failure_leaves_the_index_that_was_there_and_nothing_else(
    layout: CacheLayout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = IndexStore(layout)
    store.save(f"{HANDLE}@abc", INDEX)

    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        store.save(f"{HANDLE}@abc", {"other": 1})
    assert "No space left" in caplog.text
    assert store.load(HANDLE) == INDEX
    assert [path.name for path in layout.model(f"{HANDLE}@abc").iterdir()] == ["index.json"]


def test_knows_the_handles_of_one_hub(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    store.save("tfhub.dev/google/spice/2@a", INDEX)
    store.save("tfhub.dev/google/deep/name/1@b", INDEX)
    store.save("other.org/google/spice/3@c", INDEX)
    layout.model("tfhub.dev/google/without/1@d").mkdir(parents=True)
    assert sorted(store.known("tfhub.dev")) == ["google/deep/name/1", "google/spice/2"]
    assert list(store.known("nobody.org")) == []


def test_an_archive_index_lies_beside_the_entries(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    assert store.load_file(f"{HANDLE}@abc") is None
    store.save_file(f"{HANDLE}@abc", b"first")
    store.save_file(f"{HANDLE}@abc", b"second")
    assert IndexStore(layout).load_file(f"{HANDLE}@abc") == b"second"
    assert store.load(HANDLE) is None  # it says nothing of the entries
    assert [path.name for path in layout.model(f"{HANDLE}@abc").iterdir()] == ["archive.hubfs-index"]


def test_an_archive_index_that_cannot_be_read_is_as_good_as_none_and_replaced(layout: CacheLayout) -> None:
    store = IndexStore(layout)
    layout.archive_index(f"{HANDLE}@abc").mkdir(parents=True)
    assert store.load_file(f"{HANDLE}@abc") is None
    store.save_file(f"{HANDLE}@abc", b"data")
    assert store.load_file(f"{HANDLE}@abc") == b"data"
    assert [path.name for path in layout.model(f"{HANDLE}@abc").iterdir()] == ["archive.hubfs-index"]

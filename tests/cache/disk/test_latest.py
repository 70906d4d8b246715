import os
from pathlib import Path

import pytest

from hubfs.cache.disk.latest import LastAnswer, LatestStore
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.sealed_json import seal

ANSWER = LastAnswer("12", 1_700_000_000.25)


@pytest.fixture
def store(tmp_path: Path) -> LatestStore:
    layout = CacheLayout(tmp_path)
    layout.prepare()
    return LatestStore(layout, "hub")


def test_an_answer_is_kept_in_place_of_the_one_before(store: LatestStore, tmp_path: Path) -> None:
    assert store.load("google/spice") is None
    store.save("google/spice", LastAnswer("11", 1.0))
    store.save("google/spice", ANSWER)
    store.save("google/spice/deeper", LastAnswer("3", 2.0))
    again = LatestStore(CacheLayout(tmp_path), "hub")
    assert (again.load("google/spice"), again.load("google/spice/deeper")) == (ANSWER, LastAnswer("3", 2.0))
    assert again.load("google") is None
    assert len([path for path in (tmp_path / "latest").rglob("*") if path.is_file()]) == 2


def test_nobody_else_may_read_it(store: LatestStore, tmp_path: Path) -> None:
    store.save("google/spice", ANSWER)
    for path in (tmp_path / "latest").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["google/other", "google/spice"])
def test_what_was_spoiled_is_as_good_as_none(store: LatestStore, tmp_path: Path, name: str) -> None:
    store.save("google/spice", ANSWER)
    (kept,) = tmp_path.rglob("@latest.json")
    sound = kept.read_bytes()
    place = tmp_path / "latest" / "hub" / name / kept.name
    place.parent.mkdir(parents=True, exist_ok=True)
    spoiled = [sound[:cut] for cut in range(len(sound))] + [bytes(len(sound)), b"[]", b"null", b'{"version": []}']
    spoiled += [sound.replace(b'"12"', b'"13"'), sound.replace(b".25", b".5")]
    spoiled += [b'{"version": "12", "asked_at_s": 1%b}' % (b"0" * 400), seal("index", f"hub/{name}", {"version": "12"})]
    spoiled += [seal("latest", f"hub/{name}", content) for content in ({}, {"version": "1", "asked_at_s": 10**400})]
    for data in [*spoiled, *([sound] if name != "google/spice" else [])]:
        place.write_bytes(data)
        assert store.load(name) is None
    store.save(name, ANSWER)
    assert store.load(name) == ANSWER


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "latest").write_text("a file where the directory should be")
    layout = CacheLayout(tmp_path)
    layout.prepare()  # blocks are kept all the same
    store = LatestStore(layout, "hub")
    store.save("google/spice", ANSWER)
    assert store.load("google/spice") is None


def test_what_lies_where_a_symlink_leads_is_neither_believed_nor_written(store: LatestStore, tmp_path: Path) -> None:
    store.save("google/spice", ANSWER)
    elsewhere = (tmp_path / "latest").rename(tmp_path / "elsewhere")
    (tmp_path / "latest").symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    assert store.load("google/spice") is None
    store.save("google/other", ANSWER)
    assert sorted(elsewhere.rglob("*")) == before


def test_what_another_user_put_there_is_not_believed(store: LatestStore, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a directory away takes root")
    store.save("google/spice", ANSWER)
    os.chown(tmp_path / "latest", 65534, 65534)
    assert store.load("google/spice") is None


def test_a_directory_that_was_open_to_others_is_closed(store: LatestStore, tmp_path: Path) -> None:
    store.save("google/spice", ANSWER)
    (tmp_path / "latest").chmod(0o755)
    CacheLayout(tmp_path).prepare()
    assert (tmp_path / "latest").stat().st_mode & 0o077 == 0
    assert store.load("google/spice") == ANSWER


@pytest.mark.parametrize("name", ["../spice", "google//spice", "google/.", ""])
def test_a_name_that_leads_elsewhere_is_none(store: LatestStore, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    store.save(name, ANSWER)
    assert store.load(name) is None
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_disk_nothing_is_kept() -> None:
    store = LatestStore(None, "hub")
    store.save("google/spice", ANSWER)
    assert store.load("google/spice") is None

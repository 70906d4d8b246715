import pytest

from hubfs.errors import Damaged
from hubfs.sources import files as listed
from hubfs.sources.files import tree_of

URL = "gs://bucket/model"


def test_directories_above_files_are_entries():
    assert [*tree_of(URL, {"a/b/c": 1, "a/d": 2})] == ["a", "a/b", "a/b/c", "a/d"]


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("x/y", "x/z", "x/y/z")])
def test_a_file_and_a_directory_of_one_name_are_refused(paths: tuple[str, ...]):
    with pytest.raises(Damaged, match="a file and a directory at once"):
        tree_of(URL, dict.fromkeys(paths, 1))


@pytest.mark.parametrize("size_bytes", [-1, 1 << 63, 10**30])
def test_a_size_that_no_file_has_is_refused(size_bytes: int):
    with pytest.raises(Damaged, match="impossible size"):
        tree_of(URL, {"a": size_bytes})


def test_few_deep_names_do_not_make_endless_directories(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listed, "MAX_NAMES_BYTES", 1000)
    with pytest.raises(Damaged, match="too long names"):
        tree_of(URL, {f"{number}/" + "d/" * 40 + "file": 1 for number in range(10)})


def test_more_entries_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listed, "MAX_ENTRIES", 10)
    with pytest.raises(Damaged, match="too many files"):
        tree_of(URL, {f"{number}": 1 for number in range(11)})

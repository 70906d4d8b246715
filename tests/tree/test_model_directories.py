import pytest

from hubfs.errors import Damaged, EntryNotFound, NotADirectory
from hubfs.model_id import ModelId
from hubfs.testing import MemorySource
from hubfs.tree.model_directories import MOST_LISTED, ModelDirectories, children_of

FOLDERS = 2000
DEEP = {f"folder{number}/deeper/file{number}": number for number in range(FOLDERS)}
MIXED = {"a/x": 1, "a-b/y": 2, "a": 0, "a.txt": 3, "top": 4}


def source_of(sizes_bytes: dict[str, int], version: int = 1) -> MemorySource:
    return MemorySource({path: bytes(size) for path, size in sizes_bytes.items()}, handle=ModelId("a/b", str(version)))


def test_listings_are_of_what_is_directly_below_sorted():
    source = source_of({path: size for path, size in MIXED.items() if path != "a"})
    directories = ModelDirectories()
    assert [entry.path for entry in directories.list(source, "")] == ["a", "a-b", "a.txt", "top"]
    assert [entry.path for entry in directories.list(source, "a")] == ["a/x"]
    assert [entry.path for entry in directories.list(source, "a-b")] == ["a-b/y"]
    with pytest.raises(NotADirectory):
        directories.list(source, "top")
    with pytest.raises(NotADirectory):
        directories.list(source, "top/x")
    with pytest.raises(EntryNotFound):
        directories.list(source, "nothing")


def test_a_walk_through_a_model_looks_its_entries_through_once():
    source, directories = source_of(DEEP), ModelDirectories()
    walked, todo = set(), [""]
    while todo:
        for entry in directories.list(source, todo.pop()):
            walked.add(entry.path)
            todo += [entry.path] if entry.kind.value == "directory" else []
    assert walked == {entry.path for entry in source.entries()}
    assert len(walked) == 3 * FOLDERS
    assert source.listings == 2, "once by the walk, and once by this test"


def test_the_directories_of_a_few_models_are_kept():
    directories = ModelDirectories()
    sources = [source_of({"x": 1}, version) for version in range(MOST_LISTED + 1)]
    for _ in range(2):
        for source in sources[:MOST_LISTED]:
            directories.list(source, "")
    assert [source.listings for source in sources] == [1] * MOST_LISTED + [0]
    directories.list(sources[-1], "")
    directories.list(sources[0], "")
    assert [source.listings for source in sources] == [2] + [1] * MOST_LISTED


def test_a_source_that_failed_is_not_listed_from_what_was_kept():
    source, directories = source_of(DEEP), ModelDirectories()
    assert directories.list(source, "")
    source.fail(Damaged("a file is not what it was"))
    for inner in ("", "folder7", "folder7/deeper"):
        with pytest.raises(Damaged, match="not what it was"):
            directories.list(source, inner)


def test_a_failure_to_list_is_not_kept(monkeypatch: pytest.MonkeyPatch):
    source, directories = source_of(DEEP), ModelDirectories()
    with monkeypatch.context() as patched:
        patched.setattr(MemorySource, "entries", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            directories.list(source, "")
    assert len(directories.list(source, "")) == FOLDERS


def test_every_entry_is_in_one_directory():
    source = source_of(DEEP)
    children = children_of(source)
    assert sorted(entry.path for entries in children.values() for entry in entries) == sorted(
        entry.path for entry in source.entries()
    )

from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Stale
from hubfs.fuse.answers import OpenFiles, Pages
from hubfs.tree.open_file import OpenFile


class File(OpenFile):
    """Counts its releases."""

    def __init__(self, pages_of: object | None) -> None:
        self.released: list[bool] = []
        super().__init__(MemoryBlob("k", b"x"), pages_of, lambda: self.released.append(True))

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def test_numbers_are_never_used_twice_and_find_their_file() -> None:
    files = OpenFiles()
    one, two = File(None), File(None)
    numbers = [files.add("/a", one)[0], files.add("/a", two)[0]]
    assert files[numbers[0]] is one
    assert files[numbers[1]] is two
    files.remove(numbers[0])
    assert files.add("/a", File(None))[0] not in numbers
    assert 0 not in numbers


def test_a_number_that_is_not_open_is_stale() -> None:
    files = OpenFiles()
    number, _ = files.add("/a", File(None))
    files.remove(number)
    with pytest.raises(Stale):
        files[number]


def test_release_releases_once() -> None:
    files = OpenFiles()
    file = File(None)
    number, _ = files.add("/a", file)
    files.remove(number)
    files.remove(number)
    assert file.released == [True]


def test_the_kernels_pages_hold_for_the_same_source_only() -> None:
    files = OpenFiles()
    first, second = object(), object()

    def pages(path: str, source: object | None) -> Pages:
        return files.add(path, File(source))[1]

    assert [pages("/a", first), pages("/a", first), pages("/b", first)] == [Pages.NEW, Pages.SAME, Pages.NEW]
    with pytest.raises(Stale):  # once: the kernel asks for the name anew, and opens again
        pages("/a", second)
    assert [pages("/a", second), pages("/a", second)] == [Pages.OTHER, Pages.SAME]
    assert [pages("/c", None), pages("/c", None)] == [Pages.OTHER, Pages.OTHER]


def test_of_what_was_forgotten_the_kernel_may_have_other_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubfs.fuse.answers._REMEMBERED", 2)
    files, source = OpenFiles(), object()
    found = [files.add(path, File(source))[1] for path in ("/a", "/b", "/c", "/a", "/d")]
    assert found == [Pages.NEW, Pages.NEW, Pages.OTHER, Pages.OTHER, Pages.OTHER]


def test_is_thread_safe() -> None:
    files = OpenFiles()

    def cycle(_: int) -> bool:
        file = File(None)
        number, _ = files.add("/a", file)
        same = files[number] is file
        files.remove(number)
        return same and file.released == [True]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(cycle, range(500)))

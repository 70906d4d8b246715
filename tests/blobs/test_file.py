"""A local file as a blob: what it does when the file changes."""

import os
from pathlib import Path

import pytest

from hubfs.blobs.file import FileBlob
from hubfs.errors import AccessDenied, Stale, Unavailable


def blob_at(path: Path) -> FileBlob:
    status = path.stat()
    return FileBlob(path, status.st_size, status.st_mtime_ns)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize("data", [b"012345678", b"01234567890", b""])
def test_a_file_of_another_size_is_stale(path: Path, data: bytes) -> None:
    blob = blob_at(path)
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(Stale, match="changed: open the file again"):
        blob.read_at(0, 5)


def test_a_file_that_was_written_again_is_stale(path: Path) -> None:
    blob = blob_at(path)
    mtime_ns = path.stat().st_mtime_ns
    path.write_bytes(b"9876543210")
    os.utime(path, ns=(mtime_ns + 1, mtime_ns + 1))
    with pytest.raises(Stale):
        blob.read_at(0, 5)


def test_a_file_that_is_gone_is_stale(path: Path) -> None:
    blob = blob_at(path)
    path.unlink()
    with pytest.raises(Stale, match="gone"):
        blob.read_at(0, 5)
    path.mkdir()
    with pytest.raises(Stale):
        blob.read_at(0, 5)


def test_a_symlink_in_its_place_is_not_followed(path: Path) -> None:
    blob = blob_at(path)
    moved = path.rename(path.with_name("moved"))
    path.symlink_to(moved)
    with pytest.raises(Unavailable, match="cannot be read"):
        blob.read_at(0, 5)


def test_a_pipe_in_its_place_blocks_nobody(path: Path) -> None:
    blob = blob_at(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises((Stale, Unavailable)):
        blob.read_at(0, 5)


def test_a_file_that_may_not_be_read_is_denied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = blob_at(path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # root, who runs tests in containers, may read everything

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AccessDenied, match="may not be read"):
        blob.read_at(0, 5)


def test_a_file_with_the_same_name_size_and_time_has_the_same_key(path: Path) -> None:
    key = blob_at(path).key
    assert blob_at(path).key == key
    os.utime(path, ns=(1, 1))
    assert blob_at(path).key != key


def test_reading_keeps_nothing_open(path: Path) -> None:
    blob = blob_at(path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert blob.read_at(2, 3) == b"234"
    assert len(os.listdir("/proc/self/fd")) == before

import dataclasses
import gzip
import os
import random
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from hubfs.blobs.file import FileBlob
from hubfs.cli import main
from hubfs.commands import indexing as index_command
from hubfs.commands.indexing import index_of, write_index
from hubfs.errors import Damaged, InvalidConfig, Stale, Unavailable
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.gzip.index import pack_window
from hubfs.formats.index_file import IndexFile
from hubfs.waiting import Cancellation
from tests.support.archives import model_files, tar_of
from tests.support.checkpoints import mixture


@cache
def large() -> dict[str, bytes]:
    return {"variables/data": mixture(30 << 20), **model_files()}


def file_blob(path: Path) -> FileBlob:
    status = path.stat()
    return FileBlob(path, status.st_size, status.st_mtime_ns)


def files_by_index(archive: Path, index: IndexFile) -> dict[str, bytes]:
    with ThreadPoolExecutor(2) as pool:
        tar = file_blob(archive)
        if index.gzip is not None:
            tar = GzipBlob(tar, index.gzip, name=str(archive), pool=pool, cancellation=Cancellation())
        return {
            member.path: tar.read_at(member.offset_bytes, member.size_bytes)
            for member in index.members
            if not member.is_directory
        }


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_index_of_an_archive_leads_to_every_file(tmp_path: Path, workers: int):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(large()), 1))
    index = index_of(archive, workers=workers)
    assert len(index.gzip) > 2
    assert files_by_index(archive, index) == large()
    assert len(index.to_bytes()) < 0.01 * archive.stat().st_size


def test_a_small_archive_is_one_span(tmp_path: Path):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(model_files(), prefix="./")))
    said = write_index(archive, None, workers=2)
    index = IndexFile.from_bytes((tmp_path / "model.tar.gz.hubfs-index").read_bytes())
    assert files_by_index(archive, index) == model_files()
    assert said.startswith(f"{archive}.hubfs-index has 6 files in 1 span, and ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.tar.gz", "model.tar.gz.hubfs-index"]


def test_the_index_lies_beside_the_name_that_was_given(tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/blob").write_bytes(gzip.compress(tar_of(model_files())))
    (tmp_path / "model.tar.gz").symlink_to("store/blob")
    write_index(tmp_path / "model.tar.gz", None, workers=1)
    assert files_by_index(
        tmp_path / "store/blob", IndexFile.from_bytes((tmp_path / "model.tar.gz.hubfs-index").read_bytes())
    )


def test_a_tar_that_is_not_compressed_is_read_as_it_is(tmp_path: Path):
    archive = tmp_path / "model.tar"
    archive.write_bytes(tar_of(model_files()))
    index = index_of(archive, workers=2)
    assert index.gzip is None
    assert files_by_index(archive, index) == model_files()
    offset, size = index.proof_range
    assert index.fits(archive.stat().st_size, archive.read_bytes()[offset : offset + size])
    other = tar_of({**model_files(), "saved_model.pb": b"x" * 2900})
    assert len(other) == archive.stat().st_size
    assert not index.fits(len(other), other[offset : offset + size])
    assert not index.fits(len(other), bytes(size))


def test_the_command_writes_the_index_where_it_is_told_to(tmp_path: Path):
    archive, output = tmp_path / "model.tgz", tmp_path / "elsewhere"
    archive.write_bytes(gzip.compress(tar_of(model_files())))
    result = CliRunner().invoke(main, ["index", str(archive), "--output", str(output)])
    assert (result.exit_code, result.output.startswith(f"{output} has 6 files in 1 span")) == (0, True)
    assert IndexFile.from_bytes(output.read_bytes()).archive_size_bytes == archive.stat().st_size


def test_what_cannot_be_read_or_written_is_said_in_one_line(tmp_path: Path):
    result = CliRunner().invoke(main, ["index", str(tmp_path / "missing")])
    assert result.exit_code == 1
    assert result.stderr == f"hubfs: {tmp_path}/missing cannot be read: No such file or directory\n"
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(model_files())))
    with pytest.raises(InvalidConfig, match="cannot be written: No such file or directory; name another --output"):
        write_index(archive, tmp_path / "no" / "where", workers=1)
    with pytest.raises(InvalidConfig, match="cannot be read: Is a directory"):
        write_index(tmp_path, None, workers=1)


def test_an_index_that_was_there_stays_until_the_new_one_is_whole(tmp_path: Path):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(model_files()))[:-20])
    (tmp_path / "model.tar.gz.hubfs-index").write_bytes(b"older")
    with pytest.raises(Damaged, match=r"model.tar.gz has no index, because it cannot be served: the gzip data ended"):
        write_index(archive, None, workers=1)
    assert (tmp_path / "model.tar.gz.hubfs-index").read_bytes() == b"older"


def test_an_archive_that_changes_meanwhile_has_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(model_files())))

    def made_and_changed(path: Path, *, workers: int) -> IndexFile | None:
        made = index_of(path, workers=workers)
        os.utime(path, ns=(0, 0))
        return made

    monkeypatch.setattr(index_command, "index_of", made_and_changed)
    with pytest.raises(Stale, match=r"model.tar.gz changed"):
        write_index(archive, None, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]


@pytest.mark.slow
def test_an_index_that_leads_to_other_bytes_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar_of(large()), 1))

    def wrong(path: Path, *, workers: int) -> IndexFile:
        made = index_of(path, workers=workers)
        first, second, *rest = made.gzip.checkpoints
        other = dataclasses.replace(second, packed_window=pack_window(b"x" * 32768))
        return dataclasses.replace(made, gzip=dataclasses.replace(made.gzip, checkpoints=(first, other, *rest)))

    monkeypatch.setattr(index_command, "index_of", wrong)
    with pytest.raises(Damaged, match="inflate to others than were indexed"):
        write_index(archive, None, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["model.tar.gz"]


def test_a_link_in_an_archive_is_refused_as_a_mount_would(tmp_path: Path):
    (tmp_path / "link").symlink_to("elsewhere")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "link", "link")
    with pytest.raises(Damaged, match="a symbolic link"):
        write_index(tmp_path / "model.tar.gz", None, workers=1)


@pytest.mark.slow
def test_fixed_huffman_codes_that_cost_the_index_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    some = random.Random(1)
    words = [some.randbytes(5).hex().encode() for _ in range(4000)]
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31, 8, zlib.Z_FIXED)
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(
        deflater.compress(tar_of({"text": 9 * b" ".join(some.choices(words, k=1_000_000))})) + deflater.flush()
    )
    assert index_of(archive, workers=2) is None
    assert (
        f"{archive} is inflated on one core, from the start: the inflating process gave up: rapidgzip reads"
        in caplog.text
    )


def test_several_large_gzip_members_have_no_index(tmp_path: Path):
    tar = tar_of({"noise": os.urandom(10 << 20)})
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(gzip.compress(tar[: 6 << 20], 1) + gzip.compress(tar[6 << 20 :], 1))
    with pytest.raises(Unavailable, match="no place to start inflating but its beginning"):
        write_index(archive, None, workers=1)

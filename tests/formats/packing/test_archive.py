import gzip
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Cancelled, Stale, Unavailable
from hubfs.formats.gzip.blob import GzipBlob
from hubfs.formats.index_file import IndexFile
from hubfs.formats.packing.archive import write_archive
from hubfs.formats.packing.listing import list_members
from hubfs.formats.tar.walk import members
from hubfs.hubs.tfhub.serve.models import ModelDirectory
from hubfs.waiting import Cancellation
from tests.support.serving import write_model


def pack(root: Path, handle: str, target: Path) -> bytes:
    write_archive(list_members(root / handle, ModelDirectory(root).holds), target, Cancellation())
    return target.read_bytes()


def test_unpacks_to_the_same_tree(tmp_path: Path):
    files = write_model(tmp_path, "google/spice/1")
    (tmp_path / "google/spice/1/empty").mkdir()
    pack(tmp_path, "google/spice/1", tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        names = tar.getnames()
        assert {name: tar.extractfile(f"./{name}").read() for name in files} == files
        assert all(
            (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "") and member.mode in (0o644, 0o755)
            for member in tar
        )
    assert names == sorted(names)
    assert names[0] == "."
    assert "./empty" in names


def test_the_same_files_give_the_same_bytes_and_time(tmp_path: Path):
    write_model(tmp_path / "here", "google/spice/1")
    write_model(tmp_path / "there", "other/name/7")
    one = pack(tmp_path / "here", "google/spice/1", tmp_path / "1.tar.gz")
    two = pack(tmp_path / "there", "other/name/7", tmp_path / "2.tar.gz")
    assert gzip.decompress(one) == gzip.decompress(two)  # which of tar and gzip it was, should they ever differ
    assert one == two
    assert (tmp_path / "1.tar.gz").stat().st_mtime_ns == (tmp_path / "2.tar.gz").stat().st_mtime_ns


def test_other_bytes_of_the_same_size_and_time_give_another_time(tmp_path: Path):
    write_model(tmp_path / "here", "google/spice/1", seed=1)
    write_model(tmp_path / "there", "google/spice/1", seed=2)
    pack(tmp_path / "here", "google/spice/1", tmp_path / "1.tar.gz")
    pack(tmp_path / "there", "google/spice/1", tmp_path / "2.tar.gz")
    assert (tmp_path / "1.tar.gz").stat().st_mtime_ns != (tmp_path / "2.tar.gz").stat().st_mtime_ns
    assert (tmp_path / "1.tar.gz").stat().st_mtime == pytest.approx((tmp_path / "2.tar.gz").stat().st_mtime, abs=1)


def test_long_and_strange_names_survive(tmp_path: Path):
    directory = tmp_path / "google/spice/1"
    names = ["a" * 200, "d/" + "ü" * 100, "with space", "new\nline", os.fsdecode(b"not-utf8-\xff")]
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    pack(tmp_path, "google/spice/1", tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz", encoding="utf-8") as tar:
        for name in names:
            assert tar.extractfile(f"./{name}").read() == name.encode("utf-8", "surrogateescape")


def test_what_is_not_ours_to_serve_is_left_out(tmp_path: Path):
    root = tmp_path / "root"
    write_model(root, "google/spice/1")
    (tmp_path / "secret").write_text("secret")
    directory = root / "google/spice/1"
    (directory / "inside").symlink_to("saved_model.pb")
    (directory / "outside").symlink_to(tmp_path / "secret")
    (directory / "nowhere").symlink_to("missing")
    (directory / "circle").symlink_to(directory)
    os.mkfifo(directory / "pipe")
    listing = list_members(directory, ModelDirectory(root).holds)
    assert listing.skipped == ("circle", "nowhere", "outside", "pipe")
    pack(root, "google/spice/1", tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert tar.getmember("./inside").isfile()
        assert tar.extractfile("./inside").read() == (directory / "saved_model.pb").read_bytes()
        assert not {"./outside", "./nowhere", "./circle", "./pipe"} & set(tar.getnames())


@pytest.mark.parametrize("change", ["grow", "shrink", "touch", "delete"])
def test_a_file_that_changed_after_the_listing_makes_no_archive(tmp_path: Path, change: str):
    write_model(tmp_path, "google/spice/1")
    listing = list_members(tmp_path / "google/spice/1", ModelDirectory(tmp_path).holds)
    file = tmp_path / "google/spice/1/saved_model.pb"
    if change == "grow":
        file.write_bytes(file.read_bytes() + b"more")
    elif change == "shrink":
        file.write_bytes(b"")
    elif change == "touch":
        os.utime(file)
    else:
        file.unlink()
    with pytest.raises(Stale):
        write_archive(listing, tmp_path / "a.tar.gz", Cancellation())
    assert list(tmp_path.glob("a.*")) == []


def test_a_file_that_shrinks_while_it_is_read_makes_no_archive(tmp_path: Path):
    write_model(tmp_path, "google/spice/1", size_bytes=5 << 20)
    listing = list_members(tmp_path / "google/spice/1", ModelDirectory(tmp_path).holds)
    data = tmp_path / "google/spice/1/variables/variables.data-00000-of-00001"

    class Shrinking(Cancellation):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 9:  # in the middle of the data file, which is read by the MiB
                os.truncate(data, 10)

    with pytest.raises(Stale, match="data-00000-of-00001 became shorter"):
        write_archive(listing, tmp_path / "a.tar.gz", Shrinking())
    assert list(tmp_path.glob("a.*")) == []


def test_a_cancelled_archive_leaves_nothing(tmp_path: Path):
    write_model(tmp_path, "google/spice/1")
    cancellation = Cancellation()
    cancellation.cancel()
    listing = list_members(tmp_path / "google/spice/1", ModelDirectory(tmp_path).holds)
    with pytest.raises(Cancelled):
        write_archive(listing, tmp_path / "a.tar.gz", cancellation)
    assert list(tmp_path.glob("a.*")) == []


def test_no_space_is_unavailable_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_model(tmp_path, "google/spice/1", size_bytes=3 << 20)
    listing = list_members(tmp_path / "google/spice/1", ModelDirectory(tmp_path).holds)
    # /dev/full is a real device that is always full; the archive is written to it through the partial file's name.
    (tmp_path / "a.tar.partial").symlink_to("/dev/full")
    with pytest.raises(Unavailable, match="No space left"):
        write_archive(listing, tmp_path / "a.tar.gz", Cancellation())
    assert list(tmp_path.glob("a.*")) == []


def test_the_fingerprint_changes_with_name_size_and_time(tmp_path: Path):
    write_model(tmp_path, "google/spice/1")
    directory = tmp_path / "google/spice/1"

    def fingerprint() -> str:
        return list_members(directory, ModelDirectory(tmp_path).holds).fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    os.utime(directory / "saved_model.pb", ns=(0, 5))
    seen.append(fingerprint())
    (directory / "saved_model.pb").rename(directory / "other.pb")
    seen.append(fingerprint())
    (directory / "new").mkdir()
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)


def read_by_index(archive: bytes, index: IndexFile) -> dict[str, bytes]:
    """Every file, by its own spans only."""
    with ThreadPoolExecutor(2) as pool:
        tar = GzipBlob(MemoryBlob("a", archive), index.gzip, name="a", pool=pool, cancellation=Cancellation())
        return {
            member.path: tar.read_at(member.offset_bytes, member.size_bytes)
            for member in index.members
            if not member.is_directory
        }


def test_the_index_beside_an_archive_leads_to_every_file(tmp_path: Path):
    files = write_model(tmp_path, "google/spice/1", size_bytes=11 << 20)
    (tmp_path / "google/spice/1/assets" / ("long" * 60)).write_bytes(b"a name with an extended header")
    files["assets/" + "long" * 60] = b"a name with an extended header"
    archive = pack(tmp_path, "google/spice/1", tmp_path / "a.tar.gz")
    index = IndexFile.from_bytes((tmp_path / "a.tar.gz.hubfs-index").read_bytes())
    assert {member.path for member in index.members if member.is_directory} == {"assets", "variables"}
    assert read_by_index(archive, index) == files
    assert index.fits(len(archive), archive[-8:])
    # A place to start every 4 MiB, and no windows.
    assert len(index.gzip) == 3
    assert all(checkpoint.packed_window == b"" for checkpoint in index.gzip.checkpoints)
    assert (tmp_path / "a.tar.gz.hubfs-index").stat().st_size < 1000


@pytest.mark.slow
def test_well_compressed_files_have_spans_of_bounded_output(tmp_path: Path):
    write_model(tmp_path, "google/spice/1")
    (tmp_path / "google/spice/1/zeros").write_bytes(bytes(70 << 20))
    archive = pack(tmp_path, "google/spice/1", tmp_path / "a.tar.gz")
    index = IndexFile.from_bytes((tmp_path / "a.tar.gz.hubfs-index").read_bytes())
    assert max(index.gzip.span(number).output_bytes for number in range(len(index.gzip))) <= 18 << 20
    assert read_by_index(archive, index)["zeros"] == bytes(70 << 20)


def test_the_same_files_give_the_same_index(tmp_path: Path):
    for where in ("here", "there"):
        write_model(tmp_path / where, "google/spice/1")
        pack(tmp_path / where, "google/spice/1", tmp_path / f"{where}.tar.gz")
    one, two = (tmp_path / f"{where}.tar.gz.hubfs-index" for where in ("here", "there"))
    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_mtime_ns == two.stat().st_mtime_ns


def test_a_name_that_is_no_utf_8_is_in_the_archive_and_in_its_index(tmp_path: Path):
    write_model(tmp_path, "google/spice/1")
    name = os.fsdecode(b"na\xefve")
    (tmp_path / "google/spice/1" / name).write_bytes(b"x")
    archive = pack(tmp_path, "google/spice/1", tmp_path / "a.tar.gz")
    index = IndexFile.from_bytes((tmp_path / "a.tar.gz.hubfs-index").read_bytes())
    assert read_by_index(archive, index)[name] == b"x"
    assert [one.path for one in members([gzip.decompress(archive)])] == [one.path for one in index.members]


def test_an_archive_with_names_that_no_client_takes_has_no_index(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_model(tmp_path, "google/spice/1")
    (tmp_path / "google/spice/1" / "/".join(["d"] * 130)).mkdir(parents=True)
    pack(tmp_path, "google/spice/1", tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz.hubfs-index").exists()
    assert "a.tar.gz has no index: an index of an archive has an impossible member" in caplog.text

"""Models that tensorflow_hub extracted: which are served, and what happens when they change."""

import ctypes
import hashlib
import logging
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from hubfs.blobs.own_tree import check_shared_directory
from hubfs.errors import Damaged, Stale, Unavailable, Untrusted
from hubfs.hubs.tfhub.extracted.source import ExtractedSource, find_extracted, untrusted
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.names.tfhub_modules import module_name, spellings
from tests.support.archives import gzipped, tar_of
from tests.support.http_origin import HttpOrigin
from tests.support.saved_models import whole_model
from tests.support.tensorflow_hub import called

HUB = "https://tfhub.dev"
HANDLE = parse_handle("google/spice/2")
URL = f"{HUB}/{HANDLE}"


def extract(cache_dir: Path, url: str = URL, files: dict[str, bytes] | None = None) -> Path:
    """What tensorflow_hub leaves behind after it downloaded `url`."""
    directory = cache_dir / hashlib.sha1(url.encode("utf8")).hexdigest()
    for path, data in (whole_model() if files is None else files).items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    Path(f"{directory}.descriptor.txt").write_text(
        f"Module: {url}\nDownload Time: 2026-01-02 03:04:05.678901\nDownloader Hostname: host (PID:123)"
    )
    return directory


def find(cache_dir: Path) -> ExtractedSource | None:
    return find_extracted(cache_dir, HUB, HANDLE, spellings([HUB, "https://hub.example/x/"], str(HANDLE)))


@pytest.mark.parametrize(
    "url",
    [
        URL,
        f"{URL}/",
        f"{URL}?tf-hub-format=compressed",
        "https://hub.example/x/google/spice/2",
    ],
)
def test_a_model_is_found_however_its_handle_was_typed(tmp_path: Path, url: str) -> None:
    directory = extract(tmp_path, url)
    source = find(tmp_path)
    assert source is not None
    assert source.url == f"file://{directory}"
    for path, data in whole_model().items():
        blob = source.open(source.find(path))
        assert blob.read_at(0, blob.size_bytes) == data


def test_the_directory_is_the_sha1_of_the_handle() -> None:
    assert module_name(URL) == "0ec53e38da6913c097df6e04d12ced9865d7cbf9"


def test_nothing_is_found_where_nothing_was_extracted(tmp_path: Path) -> None:
    assert find(tmp_path) is None
    assert find(tmp_path / "nowhere") is None
    extract(tmp_path, f"{HUB}/google/spice/1")
    extract(tmp_path, f"{HUB}/google/spice")  # which was the latest once
    assert find(tmp_path) is None


def left_aside(cache_dir: Path, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.WARNING, "hubfs"):
        assert find(cache_dir) is None
    (record,) = caplog.records
    return record.getMessage()


@pytest.fixture
def covered() -> Iterator[Callable[[Path], None]]:
    """Mounts something else over a directory or a file, which looks the same."""
    with ExitStack() as mounted:

        def cover(path: Path) -> None:
            copy = path.with_name(f"copy-of-{path.name}")
            (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
            subprocess.run(["mount", "--bind", copy, path], check=True)
            mounted.callback(subprocess.run, ["umount", "-l", path], check=True)

        yield cover


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts without FUSE")
@pytest.mark.parametrize("part", ["", ".descriptor.txt", "/variables", "/saved_model.pb"])
def test_a_model_of_which_something_is_mounted_is_left_aside(
    tmp_path: Path, part: str, covered: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A FUSE file system says that its files are root's, if its maker likes, who may mount on what is his own."""
    directory = extract(tmp_path)
    covered(Path(f"{directory}{part}"))
    assert "is mounted over what was there" in left_aside(tmp_path, caplog)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts without FUSE")
def test_a_file_that_something_is_mounted_over_later_is_not_read(
    tmp_path: Path, covered: Callable[[Path], None]
) -> None:
    directory = extract(tmp_path)
    source = find(tmp_path)
    assert source is not None
    covered(directory / "saved_model.pb")
    with pytest.raises(Untrusted):
        source.open(source.find("saved_model.pb")).read_at(0, 10)


@pytest.fixture
def silent() -> Iterator[Callable[..., None]]:
    """Mounts a FUSE file system over a directory or a file of which nobody ever answers a question."""
    libc = ctypes.CDLL(None, use_errno=True)
    with ExitStack() as mounted:

        def cover(path: Path, user: int = 0) -> None:
            device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
            mode = stat.S_IFMT(path.stat().st_mode)
            options = f"fd={device},rootmode={mode:o},user_id={user},group_id=0,allow_other"
            assert libc.mount(b"silent", os.fsencode(path), b"fuse", 0, options.encode()) == 0, ctypes.get_errno()
            mounted.callback(subprocess.run, ["umount", "-l", path], check=False)  # the test may have done so
            mounted.callback(os.close, device)  # first: it ends all that waits for an answer

        yield cover


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts by himself")
@pytest.mark.parametrize("part", ["", ".descriptor.txt", ".lock", "/variables", "/saved_model.pb"])
def test_a_mount_that_never_answers_is_left_aside_at_once(
    tmp_path: Path, part: str, silent: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    directory = extract(tmp_path)
    planted = Path(f"{directory}{part}")
    if part == ".lock":
        planted.touch()
    silent(planted)
    with ThreadPoolExecutor(2) as pool:
        found, refused = pool.submit(find, tmp_path), pool.submit(lambda: [*untrusted(tmp_path)])
        try:
            assert found.result(timeout=60) is None
            assert len(refused.result(timeout=60)) == (part != ".lock")
        finally:
            subprocess.run(["umount", "-f", planted], check=False)
    assert "is left aside" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts by himself")
def test_a_cache_directory_that_another_user_mounted_is_not_asked_anything(
    tmp_path: Path, silent: Callable[..., None]
) -> None:
    (tmp_path / "cache").mkdir()
    silent(tmp_path / "cache", user=1234)
    with pytest.raises(Untrusted, match="is mounted by user 1234"):
        check_shared_directory(tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts without FUSE")
def test_the_cache_directory_itself_may_be_a_mount(tmp_path: Path, covered: Callable[[Path], None]) -> None:
    (tmp_path / "cache").mkdir()
    extract(tmp_path / "cache")
    covered(tmp_path / "cache")
    assert find(tmp_path / "cache") is not None


@pytest.mark.parametrize("path", whole_model())
def test_a_model_with_a_file_missing_is_left_aside(tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture) -> None:
    (extract(tmp_path) / path).unlink()
    assert "is missing" in left_aside(tmp_path, caplog)


def test_a_cut_model_does_not_hide_a_whole_one(tmp_path: Path) -> None:
    (extract(tmp_path) / "saved_model.pb").unlink()
    whole = extract(tmp_path, f"{URL}/")
    source = find(tmp_path)
    assert source is not None
    assert source.url == f"file://{whole}"


def test_a_model_that_is_being_extracted_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path(f"{extract(tmp_path)}.lock").write_text("host.1.uid")
    assert "being extracted" in left_aside(tmp_path, caplog)


@pytest.mark.parametrize("text", [None, b"", b"Module: https://tfhub.dev/google/spice/22", b"\xff\xfe"])
def test_a_model_whose_descriptor_does_not_name_it_is_left_aside(
    tmp_path: Path, text: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    descriptor = Path(f"{extract(tmp_path)}.descriptor.txt")
    descriptor.unlink()
    if text is not None:
        descriptor.write_bytes(text)
    assert "descriptor.txt" in left_aside(tmp_path, caplog)


@pytest.mark.parametrize("target", ["file", "directory", "nowhere"])
def test_links_out_of_the_directory_are_not_followed(
    tmp_path: Path, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    directory = extract(tmp_path)
    (directory / "assets" / "more").symlink_to(tmp_path / target)
    assert "neither a file nor a directory" in left_aside(tmp_path, caplog)


def test_a_link_in_the_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    directory = extract(tmp_path)
    directory.symlink_to(directory.rename(tmp_path / "elsewhere"))
    assert find(tmp_path) is None


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    directory = extract(tmp_path)
    Path(os.fsdecode(os.fsencode(directory) + b"/\xff")).touch()
    with pytest.raises(Damaged, match="no path"):
        ExtractedSource(HUB, HANDLE, directory)


def test_a_directory_that_is_gone_is_stale(tmp_path: Path) -> None:
    with pytest.raises(Stale, match="cannot be listed"):
        ExtractedSource(HUB, HANDLE, tmp_path / "gone")


def test_a_file_that_changes_fails_the_whole_model_for_good(tmp_path: Path) -> None:
    directory = extract(tmp_path)
    source = find(tmp_path)
    assert source is not None
    graph, index = (source.open(source.find(path)) for path in ("saved_model.pb", "variables/variables.index"))
    before = (directory / "saved_model.pb").read_bytes()
    (directory / "saved_model.pb").write_bytes(before + b"\x08\x01")
    with pytest.raises(Stale):
        graph.read_at(0, 10)
    assert isinstance(source.failure, Stale)
    with pytest.raises(Stale):
        index.read_at(0, 1)
    with pytest.raises(Stale):
        source.find("variables")
    again = find(tmp_path)
    assert again is not None
    assert again.identity != source.identity


def _own(path: Path) -> None:
    os.chown(path, 65534, 65534, follow_symlinks=False)


PLANTED = {
    "the directory": ("", _own, "belongs to user 65534"),
    "a directory in it": ("variables", _own, "belongs to user 65534"),
    "a file": ("variables/variables.index", _own, "belongs to user 65534"),
    "a file that all may write": ("saved_model.pb", lambda path: path.chmod(0o646), "can be written by other users"),
    "a file that a group may write": (
        "saved_model.pb",
        lambda path: path.chmod(0o664),
        "can be written by other users",
    ),
    "a directory that a group may write": ("assets", lambda path: path.chmod(0o775), "can be written by other users"),
    "the descriptor": ("../{name}.descriptor.txt", _own, "belongs to user 65534"),
    "the cache directory": ("..", _own, "can rename everything in it"),
    "no sticky bit": ("..", lambda path: path.chmod(0o777), "has no sticky bit"),
}


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@as_root
@pytest.mark.parametrize("case", PLANTED)
def test_what_another_user_can_have_put_there_is_left_aside(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, plant, reason = PLANTED[case]
    cache_dir = tmp_path / "shared"
    cache_dir.mkdir(mode=0o755)
    directory = extract(cache_dir)
    cache_dir.chmod(0o1777)
    assert find(cache_dir) is not None
    assert not [*untrusted(cache_dir)]
    plant(directory / path.format(name=directory.name))
    assert reason in left_aside(cache_dir, caplog)
    (refused,) = untrusted(cache_dir)
    assert reason in str(refused)


@as_root
def test_a_file_is_checked_again_when_it_is_read(tmp_path: Path) -> None:
    directory = extract(tmp_path)
    source = find(tmp_path)
    assert source is not None
    blob = source.open(source.find("variables/variables.index"))
    before = (directory / "variables").stat()
    for plant, mend in (
        (
            lambda: _own(directory / "variables"),
            lambda: os.chown(directory / "variables", before.st_uid, before.st_gid),
        ),
        (lambda: (directory / "variables").chmod(0o777), lambda: (directory / "variables").chmod(0o755)),
    ):
        plant()
        with pytest.raises(Untrusted):
            blob.read_at(0, 10)
        mend()
        assert blob.read_at(0, 10)
    moved = (directory / "variables").rename(tmp_path / "moved")
    (directory / "variables").symlink_to(moved)
    with pytest.raises(Unavailable, match="symbolic links"):
        blob.read_at(0, 10)


@pytest.mark.tensorflow
def test_what_the_library_itself_extracts_is_found_and_what_it_wrongly_takes_for_whole_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache_dir = tmp_path / "cache"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cache_dir))
    files = whole_model()
    packed = tar_of(files)
    member = packed.index(b"variables/variables.index")
    cut = gzipped(packed[:member])
    with HttpOrigin() as origin:
        origin.put(f"/{HANDLE}", gzipped(packed), etag='"whole"')
        origin.put("/google/spice/3", cut, etag='"cut"')
        results = called(tmp_path, ("download", f"{origin.url}/{HANDLE}"), ("download", f"{origin.url}/google/spice/3"))
        urls = [origin.url]
    found, wrong = (Path(result) for result, _ in results)
    assert wrong.is_dir(), "the library takes it for a success"

    source = find_extracted(cache_dir, urls[0], HANDLE, spellings(urls, str(HANDLE)))
    assert source is not None
    assert source.url == f"file://{found}"
    assert [entry.path for entry in source.entries() if entry.size_bytes] == sorted(files)
    assert find_extracted(cache_dir, urls[0], parse_handle("google/spice/3"), spellings(urls, "google/spice/3")) is None
    assert "variables.index is missing" in caplog.text

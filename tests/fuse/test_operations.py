"""FUSE's questions, asked without mounting: the tree is real, over models that are in memory."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged
from hubfs.fuse.attributes import inode
from hubfs.fuse.operations import Operations
from tests.support.one_model import FILES, LINK, MODULE, ROOT, UNKNOWN_MODULE, Cache, OneModel, answers_of, fresh_source


@pytest.fixture
def models() -> OneModel:
    return OneModel()


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def operations(models: OneModel, cache: Cache, tmp_path: Path) -> Operations:
    return Operations(answers_of(models, cache, tmp_path))


def opened(operations: Operations, path: str, flags: int = os.O_RDONLY) -> Any:
    info = SimpleNamespace(flags=flags, fh=0, keep_cache=0, direct_io=0)
    assert operations.open(path, info) == 0
    return info


def errno_of(operation: Callable[..., object], *args: object) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is looked at
        operation(*args)
    return caught.value.errno


def test_getattr_tells_directories_from_files(operations: Operations) -> None:
    for path in ("/", "/google", "/google/spice", ROOT, f"{ROOT}/variables", "/.hubfs"):
        assert stat.S_ISDIR(operations.getattr(path)["st_mode"])
    found = operations.getattr(f"{ROOT}/saved_model.pb")
    assert stat.S_ISREG(found["st_mode"])
    assert found["st_size"] == 500
    assert operations.getattr("/.hubfs/version")["st_size"] == 6


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/google/spice/3", errno.ENOENT),
        (f"{ROOT}/nothing", errno.ENOENT),
        ("/.git", errno.ENOENT),
        ("/.hubfs/nothing", errno.ENOENT),
        ("/down/x/1", errno.EHOSTUNREACH),
        ("/down/x/latest", errno.EHOSTUNREACH),
        ("/google/nothing/latest", errno.ENOENT),
        ("/google/nothing/README.md", errno.ENOENT),
        ("/google/collection/nothing", errno.ENOENT),
        (UNKNOWN_MODULE, errno.ENOENT),
        (f"{MODULE}.lock", errno.ENOENT),
        (f"{ROOT}/{'x' * 255}", errno.ENOENT),
        (f"{ROOT}/{'x' * 256}", errno.ENAMETOOLONG),
        (f"/google/spice/{'1' * 255}", errno.ENOENT),
        (f"/google/spice/{'1' * 256}", errno.ENAMETOOLONG),
        (f"/google/spice/{'1' * 256}/saved_model.pb", errno.ENOENT),
        (f"{ROOT}/{'ü' * 128}", errno.ENAMETOOLONG),
        (f"{ROOT}/{'x' * 256}/x", errno.ENOENT),
    ],
)
def test_getattr_of_what_is_not_there(operations: Operations, path: str, number: int) -> None:
    assert errno_of(operations.getattr, path) == number


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", [".hubfs", "google"]),
        ("/google", ["collection", "spice"]),
        ("/google/spice", ["2", "README.md", "latest"]),
        ("/google/collection", ["pitch"]),
        ("/google/collection/pitch", ["google_spice_2"]),
        (ROOT, ["saved_model.pb", "variables"]),
        (f"{ROOT}/variables", ["variables.index"]),
        ("/.hubfs", ["tfhub_modules", "version"]),
        ("/.hubfs/tfhub_modules", []),
    ],
)
def test_readdir_gives_names_types_and_the_inodes_that_getattr_gives(
    operations: Operations, path: str, names: list[str]
) -> None:
    dot, dot_dot, *entries = operations.readdir(path, 0)
    assert [name for name, _, _ in entries] == names
    for name, attributes, offset in entries:
        found = operations.getattr(f"{path.rstrip('/')}/{name}")
        assert offset == 0
        assert attributes == {"st_mode": found["st_mode"], "st_ino": found["st_ino"]}
    assert (dot[0], dot[1]["st_ino"]) == (".", inode(path))
    assert (dot_dot[0], dot_dot[1]["st_ino"]) == ("..", inode(os.path.dirname(path)))  # noqa: PTH120 - paths are texts


def test_readdir_of_a_file_is_refused(operations: Operations) -> None:
    assert errno_of(operations.readdir, f"{ROOT}/saved_model.pb", 0) == errno.ENOTDIR
    assert errno_of(operations.readdir, "/.hubfs/version", 0) == errno.ENOTDIR


def test_a_directory_that_is_gone_is_never_an_empty_one(operations: Operations, models: OneModel) -> None:
    assert errno_of(operations.readdir, f"{ROOT}/assets", 0) == errno.ESTALE
    assert errno_of(operations.readdir, "/google/spice/3", 0) == errno.ESTALE
    models.source.fail(Damaged("cut"))
    assert errno_of(operations.readdir, ROOT, 0) == errno.EIO


def test_read_gives_the_bytes(operations: Operations) -> None:
    info = opened(operations, f"{ROOT}/saved_model.pb")
    assert operations.read("ignored", 10, 495, info) == b"graph"
    assert operations.read("ignored", 10, 500, info) == b""
    assert operations.read("ignored", 1000, 0, info) == FILES["saved_model.pb"]


def test_the_kernel_keeps_its_pages_while_the_source_is_the_same(operations: Operations, models: OneModel) -> None:
    path = f"{ROOT}/saved_model.pb"
    assert [bool(opened(operations, path).keep_cache) for _ in range(3)] == [True, True, True]
    models.source = fresh_source()  # the model was fetched anew
    with pytest.raises(OSError, match="open it again"):  # once: the kernel asks for the size anew
        opened(operations, path)
    assert [bool(opened(operations, path).keep_cache) for _ in range(2)] == [False, True]
    assert not opened(operations, path).direct_io  # TF Lite maps files


def test_control_files_are_read_past_the_page_cache(operations: Operations) -> None:
    for _ in range(2):
        info = opened(operations, "/.hubfs/version")
        assert info.direct_io
        assert not info.keep_cache
        assert operations.read("ignored", 100, 0, info) == b"1.2.3\n"


def test_release_ends_the_hold_once(operations: Operations, models: OneModel, cache: Cache) -> None:
    info = opened(operations, f"{ROOT}/saved_model.pb")
    assert (cache.held, cache.released) == ([models.source.model], [])
    for _ in range(2):
        assert operations.release("ignored", info) == 0
    assert cache.released == [models.source.model]
    assert errno_of(operations.read, "ignored", 1, 0, info) == errno.ESTALE


def test_an_open_that_fails_leaves_nothing_open(operations: Operations, models: OneModel, cache: Cache) -> None:
    assert errno_of(operations.open, ROOT, SimpleNamespace(flags=0)) == errno.EISDIR
    assert errno_of(operations.open, f"{ROOT}/variables", SimpleNamespace(flags=0)) == errno.EISDIR
    models.source.fail(Damaged("https://hub/google/spice/2: crc"))
    assert errno_of(operations.open, f"{ROOT}/saved_model.pb", SimpleNamespace(flags=0)) == errno.EIO
    assert cache.held == cache.released


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_APPEND, os.O_WRONLY | os.O_CREAT])
def test_opening_to_write_is_refused(operations: Operations, cache: Cache, flags: int) -> None:
    assert errno_of(operations.open, f"{ROOT}/saved_model.pb", SimpleNamespace(flags=flags)) == errno.EROFS
    assert cache.held == cache.released


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_NONBLOCK, os.O_CLOEXEC, os.O_DIRECT, os.O_NOFOLLOW])
def test_other_flags_do_not_matter(operations: Operations, flags: int) -> None:
    opened(operations, f"{ROOT}/saved_model.pb", flags)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("chmod", (0o777,)),
        ("chown", (0, 0)),
        ("create", (0o644, None)),
        ("fallocate", (0, 0, 10, None)),
        ("link", ("/source",)),
        ("mkdir", (0o755,)),
        ("mknod", (0o644, 0)),
        ("removexattr", ("user.x",)),
        ("rename", ("/new",)),
        ("rmdir", ()),
        ("setxattr", ("user.x", b"v", 0)),
        ("symlink", ("/source",)),
        ("truncate", (0,)),
        ("unlink", ()),
        ("utimens", ((1, 1),)),
        ("write", (b"data", 0, None)),
    ],
)
@pytest.mark.parametrize("path", [f"{ROOT}/saved_model.pb", "/google/spice/3", "/"])
def test_every_write_is_refused(operations: Operations, path: str, name: str, args: tuple[object, ...]) -> None:
    assert errno_of(getattr(operations, name), path, *args) == errno.EROFS


def test_access_allows_reading_and_searching(operations: Operations) -> None:
    file = f"{ROOT}/saved_model.pb"
    assert operations.access(file, os.F_OK) == operations.access(file, os.R_OK) == 0
    assert operations.access(ROOT, os.R_OK | os.X_OK) == 0
    assert errno_of(operations.access, file, os.W_OK) == errno.EROFS
    assert errno_of(operations.access, file, os.X_OK) == errno.EACCES
    assert errno_of(operations.access, f"{ROOT}/nothing", os.R_OK) == errno.ENOENT


@pytest.mark.parametrize(
    ("path", "target"),
    [("/google/spice/latest", "2"), (LINK, "../../../google/spice/2"), (MODULE, "../../google/spice/2")],
)
def test_symlinks_lead_to_the_model(operations: Operations, path: str, target: str) -> None:
    found = operations.getattr(path)
    assert stat.S_ISLNK(found["st_mode"])
    assert operations.readlink(path) == target
    assert os.path.normpath(f"{os.path.dirname(path)}/{target}") == ROOT  # noqa: PTH120 - paths are texts
    assert operations.listxattr(path) == []


def test_the_size_of_a_symlink_is_its_targets_length(operations: Operations, models: OneModel) -> None:
    assert operations.getattr(LINK)["st_size"] == len("../../../google/spice/2")
    assert operations.getattr("/google/spice/latest")["st_size"] == 1
    models.newest = "10"
    assert operations.readlink("/google/spice/latest") == "10"
    assert operations.getattr("/google/spice/latest")["st_size"] == 2


def test_the_kernel_forgets_the_size_of_a_link_whose_target_got_longer(
    operations: Operations, models: OneModel
) -> None:
    forgotten: list[str] = []
    operations._forget_attributes = forgotten.append  # what the binding gives it
    latest = "/google/spice/latest"
    assert operations.readlink(latest) == "2"
    models.newest = "10"
    assert operations.readlink(latest) == "10"
    assert not forgotten, "the kernel was told nothing yet"
    assert operations.getattr(latest)["st_size"] == 2
    models.newest = "11"
    assert operations.readlink(latest) == "11"
    assert not forgotten
    models.newest = "123"
    for _ in range(3):
        assert operations.readlink(latest) == "123"
    assert forgotten == [latest]
    assert operations.getattr(latest)["st_size"] == 3


def test_a_move_of_latest_leaves_open_files_alone(operations: Operations, models: OneModel) -> None:
    info = opened(operations, f"{ROOT}/saved_model.pb")
    models.newest = "3"
    assert operations.readlink("/google/spice/latest") == "3"
    assert operations.read("ignored", 10, 495, info) == b"graph"


def test_documentation_is_read_past_the_page_cache(operations: Operations) -> None:
    path = "/google/spice/README.md"
    assert operations.getattr(path)["st_size"] == 8
    info = opened(operations, path)
    assert info.direct_io
    assert operations.read("ignored", 100, 0, info) == b"# Spice\n"


@pytest.mark.parametrize("name", ["create", "mkdir"])
def test_nothing_is_made_among_the_modules(operations: Operations, name: str) -> None:
    assert errno_of(getattr(operations, name), f"{MODULE}.lock", 0o644) == errno.EROFS


def test_these_are_no_symlinks(operations: Operations) -> None:
    for path in ("/", "/google", ROOT, "/.hubfs/version", "/google/spice/README.md", "/google/collection/pitch"):
        assert errno_of(operations.readlink, path) == errno.EINVAL
    assert errno_of(operations.readlink, UNKNOWN_MODULE) == errno.ENOENT
    assert errno_of(operations.readlink, f"{ROOT}/saved_model.pb") == errno.EINVAL
    assert errno_of(operations.readlink, f"{ROOT}/nothing") == errno.ENOENT


def test_the_file_system_shows_the_limit_of_the_cache_and_has_no_room_to_write(
    operations: Operations, cache: Cache
) -> None:
    found = operations.statfs("/")
    assert found["f_bsize"] > 0
    assert found["f_blocks"] * found["f_frsize"] == 1 << 20
    assert found["f_bfree"] == found["f_blocks"]
    assert not any(found.get(name) for name in ("f_bavail", "f_ffree", "f_favail"))
    cache.put(CacheKey("m", "x"), 0, bytes(1 << 18))
    assert operations.statfs("/")["f_bfree"] * found["f_frsize"] == (1 << 20) - (1 << 18)
    assert found["f_namemax"] == 255


def test_attributes_are_read_by_name_and_never_listed(
    operations: Operations, models: OneModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/", ROOT, f"{ROOT}/saved_model.pb"):
        assert operations.listxattr(path) == []
    assert operations.getxattr(ROOT, "user.hubfs.handle") == b"google/spice/2"
    assert errno_of(operations.getxattr, ROOT, "user.hubfs.error") == errno.ENODATA
    assert errno_of(operations.getxattr, ROOT, "user.other") == errno.ENODATA
    assert errno_of(operations.getxattr, ROOT, "security.capability") == errno.ENOTSUP
    models.source.fail(Damaged("https://hub/google/spice/2: crc"))
    assert operations.getxattr(ROOT, "user.hubfs.error") == b"https://hub/google/spice/2: crc"
    monkeypatch.setattr(operations._answers._tree, "attribute", lambda *_: "ü" * 100_000)
    cut = operations.getxattr(ROOT, "user.hubfs.error")
    assert len(cut) <= 65536, "the kernel would say E2BIG"
    assert cut.decode().endswith("üü...")

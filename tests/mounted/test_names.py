"""The name space of a mount: what exists, what it looks like, and that nothing of it can be changed."""

import errno
import itertools
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hubfs
from tests.conftest import BINDINGS, FORMS, SMALL
from tests.support.files import listed
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin

pytestmark = pytest.mark.mounted


@pytest.fixture(scope="module", params=itertools.product(BINDINGS, FORMS), ids="-".join)
def served(
    request: pytest.FixtureRequest, servers: Origin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mount, Origin]]:
    """One mount for all of these tests, for each binding and form: none of them changes it."""
    binding, form = request.param
    home = tmp_path_factory.mktemp("names")
    machine = Machine(home / "machine", {"HUBFS_FUSE_LIBRARY": binding, **servers.environment})
    with mounted(machine, home / "hub", servers.url, "--format", form) as hub:
        yield hub, servers.asked_for(form)


@pytest.fixture
def hub(served: tuple[Mount, Origin]) -> Mount:
    return served[0]


@pytest.fixture
def origin(served: tuple[Mount, Origin]) -> Origin:
    return served[1]


def test_a_model_lists_the_files_and_directories_that_it_has(hub: Mount, small: Path) -> None:
    assert listed(hub.path / SMALL) == listed(small)


def test_ls_shows_sizes_and_no_error(hub: Mount, small: Path) -> None:
    done = subprocess.run(["ls", "-lR", hub.path / SMALL], check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    sizes = {line.split()[-1]: int(line.split()[4]) for line in done.stdout.splitlines() if line.startswith("-")}
    assert sizes == {path.name: path.stat().st_size for path in small.rglob("*") if path.is_file()}


def test_files_are_0444_and_directories_0755_and_belong_to_who_mounted(hub: Mount, small: Path) -> None:
    for name in sorted(listed(small)):
        found, original = (hub.path / SMALL / name).stat(), (small / name).stat()
        assert stat.filemode(found.st_mode) == ("drwxr-xr-x" if stat.S_ISDIR(original.st_mode) else "-r--r--r--")
        assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
        if stat.S_ISREG(original.st_mode):
            assert found.st_size == original.st_size
            assert found.st_blocks * 512 >= found.st_size
        else:
            assert found.st_size > 0


def test_a_directory_that_could_lead_to_a_model_exists_without_asking(hub: Mount, origin: Origin) -> None:
    before = origin.requests()
    assert (hub.path / "some-publisher").is_dir()
    assert (hub.path / "some-publisher" / "some.name_1").is_dir()
    assert (hub.path / "some-publisher" / "name" / "deeper").is_dir()
    assert origin.requests() == before


@pytest.mark.parametrize(
    "name", [".git", "desktop.ini", "AACS", ".Trash-0", "noise/.hidden", "noise/sp ace", "noise/small/1x y", "Noise"]
)
def test_names_that_no_hub_can_have_do_not_exist_and_ask_nobody(hub: Mount, origin: Origin, name: str) -> None:
    before = origin.requests()
    with pytest.raises(FileNotFoundError):
        (hub.path / name).stat()
    assert origin.requests() == before


def test_a_model_that_the_hub_does_not_have_does_not_exist(hub: Mount, origin: Origin) -> None:
    with pytest.raises(FileNotFoundError):
        (hub.path / "noise" / "absent" / "1").stat()
    before = origin.requests()
    with pytest.raises(FileNotFoundError):
        (hub.path / "noise" / "absent" / "1" / "saved_model.pb").read_bytes()
    assert origin.requests() == before, "the answer of a moment ago was not believed"


def test_an_entry_that_the_model_does_not_have_does_not_exist(hub: Mount) -> None:
    for name in ("saved_model.pbtxt", "tfhub_module.pb", "variables/none", "saved_model.pb.bak"):
        with pytest.raises(FileNotFoundError):
            (hub.path / SMALL / name).stat()


def test_a_file_is_no_directory_and_a_directory_no_file(hub: Mount) -> None:
    with pytest.raises(NotADirectoryError):
        os.listdir(hub.path / SMALL / "saved_model.pb")
    with pytest.raises(IsADirectoryError):
        (hub.path / SMALL / "variables").read_bytes()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        (hub.path / SMALL / "saved_model.pb").readlink()


def _open_for(flags: int) -> Callable[[Path], object]:
    return lambda model: os.open(model / "saved_model.pb", flags)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda model: (model / "new").touch(), id="touch a new file"),
        pytest.param(lambda model: (model / "saved_model.pb").touch(), id="touch a file"),
        pytest.param(lambda model: (model / "new").mkdir(), id="mkdir"),
        pytest.param(lambda model: (model / "saved_model.pb").unlink(), id="rm"),
        pytest.param(lambda model: (model / "variables").rmdir(), id="rmdir"),
        pytest.param(lambda model: (model / "saved_model.pb").rename(model / "other"), id="mv"),
        pytest.param(lambda model: os.link(model / "saved_model.pb", model / "other"), id="ln"),
        pytest.param(lambda model: (model / "link").symlink_to("saved_model.pb"), id="ln -s"),
        pytest.param(lambda model: (model / "saved_model.pb").chmod(0o644), id="chmod"),
        pytest.param(lambda model: os.chown(model / "saved_model.pb", os.getuid(), os.getgid()), id="chown"),
        pytest.param(lambda model: os.utime(model / "saved_model.pb", (0, 0)), id="utime"),
        pytest.param(lambda model: os.setxattr(model / "saved_model.pb", "user.note", b"x"), id="setfattr"),
        pytest.param(lambda model: os.removexattr(model / "saved_model.pb", "user.hubfs.url"), id="setfattr -x"),
        pytest.param(lambda model: os.truncate(model / "saved_model.pb", 0), id="truncate"),
        pytest.param(lambda model: os.mkfifo(model / "pipe"), id="mkfifo"),
        pytest.param(_open_for(os.O_WRONLY), id="open for writing"),
        pytest.param(_open_for(os.O_RDWR), id="open for both"),
        pytest.param(_open_for(os.O_RDONLY | os.O_TRUNC), id="open and truncate"),
        pytest.param(_open_for(os.O_WRONLY | os.O_APPEND), id="open for appending"),
    ],
)
def test_every_write_is_refused_as_to_a_read_only_file_system(
    hub: Mount, small: Path, write: Callable[[Path], object]
) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        write(hub.path / SMALL)
    assert (hub.path / SMALL / "saved_model.pb").read_bytes() == (small / "saved_model.pb").read_bytes()


def test_access_lets_read_and_nobody_write(hub: Mount) -> None:
    model = hub.path / SMALL
    assert os.access(model, os.R_OK | os.X_OK)
    assert os.access(model / "saved_model.pb", os.R_OK)
    assert not os.access(model / "saved_model.pb", os.W_OK)
    assert not os.access(model, os.W_OK)
    assert not os.access(model / "saved_model.pb", os.X_OK)
    assert not os.access(model / "debug" / "saved_model_debug_info.pb", os.F_OK)


def test_statfs_has_no_room_to_write(hub: Mount) -> None:
    found = os.statvfs(hub.path)
    assert found.f_bavail == 0
    assert 0 < found.f_bfree <= found.f_blocks
    assert found.f_namemax == 255
    assert found.f_flag & os.ST_RDONLY


def test_attributes_say_where_a_model_comes_from(hub: Mount, origin: Origin, small: Path) -> None:
    model = hub.path / SMALL
    data = (model / "saved_model.pb").read_bytes()
    for path in (model, model / "saved_model.pb", model / "variables"):
        assert os.listxattr(path) == []
        assert os.getxattr(path, "user.hubfs.handle").decode() == SMALL
        assert os.getxattr(path, "user.hubfs.form").decode() == origin.form
    url = os.getxattr(model, "user.hubfs.url").decode()
    assert url.startswith("gs://models/" if origin.form == "uncompressed" else origin.url)
    assert url.rstrip("/").endswith(SMALL), "the query must not show"
    hosted_bytes = sum(path.stat().st_size for path in small.rglob("*") if path.is_file())
    assert len(data) <= int(os.getxattr(model, "user.hubfs.cached_bytes")) <= hosted_bytes


def test_a_sound_model_has_no_error_attribute(hub: Mount) -> None:
    (hub.path / SMALL / "saved_model.pb").read_bytes()
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        hub.error_of(hub.path / SMALL)


def test_the_control_files_tell_the_status_and_the_version(hub: Mount, origin: Origin) -> None:
    (hub.path / SMALL / "saved_model.pb").read_bytes()
    control = hub.path / ".hubfs"
    assert {"status.json", "version"} <= set(os.listdir(control))
    status = json.loads((control / "status.json").read_text())
    assert origin.url in json.dumps(status)
    assert SMALL in json.dumps(status)
    assert hubfs.__version__ in (control / "version").read_text()
    with pytest.raises(FileNotFoundError):
        (control / "none").stat()

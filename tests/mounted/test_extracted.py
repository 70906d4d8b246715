"""What tensorflow_hub extracted into its cache directory is served from there; the hub is asked for the rest."""

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.models import basic_pitch, pack
from tests.support.mount import Machine, Mount, clear, mounted
from tests.support.origin import Origin, running_origin
from tests.support.tensorflow_hub import called

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow]

WHOLE = "test/whole/1"
CUT = "test/cut/1"
LOCKED = "test/locked/1"


@pytest.fixture(scope="module")
def model() -> Path:
    return basic_pitch()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Origin]:
    home = tmp_path_factory.mktemp("origin")
    archive = pack(model, home / "model.tar.gz")
    with running_origin(home, {}, dict.fromkeys((WHOLE, CUT, LOCKED), archive)) as origin:
        yield origin


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory, servers: Origin) -> dict[str, Path]:
    """Where the library itself put the models, one of which came from an archive that was cut."""
    work = tmp_path_factory.mktemp("library")
    whole = servers.nginx.root / f"{CUT}.tar.gz"
    archive = whole.resolve()
    servers.nginx.host_archive(CUT, cut_between_members(archive, work / "cut.tar.gz"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TFHUB_CACHE_DIR", str(work / "cache"))
        found = called(work, *(("download", f"{servers.url}/{handle}") for handle in (WHOLE, CUT, LOCKED)))
    servers.nginx.host_archive(CUT, archive)
    paths = [Path(path) for path, _ in found]
    assert all(path.is_dir() for path in paths), found
    Path(f"{paths[2]}.lock").write_text("host.1.0")
    return dict(zip((WHOLE, CUT, LOCKED), paths, strict=True))


@pytest.fixture
def cache_dir(extracted: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of what the library left."""
    return Path(shutil.copytree(extracted[WHOLE].parent, tmp_path / "cache"))


@pytest.fixture
def user(machine: Machine, servers: Origin) -> Machine:
    return machine.with_environment(**servers.environment)


def cut_between_members(archive: Path, target: Path) -> Path:
    """The archive up to its last member, without a word that it ends."""
    with tarfile.open(archive) as tar:
        end = tar.getmembers()[-1].offset
    target.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes())[:end], 1))
    return target


def with_cache(user: Machine, tmp_path: Path, origin: Origin, cache_dir: Path) -> AbstractContextManager[Mount]:
    return mounted(user.with_environment(TFHUB_CACHE_DIR=str(cache_dir)), tmp_path / "hub", origin.url)


def url_of(hub: Mount, handle: str) -> str:
    (found,) = [model["url"] for model in hub.status()["models"] if model["handle"] == handle]
    return str(found)


def test_a_whole_model_is_served_without_a_request(
    user: Machine, servers: Origin, cache_dir: Path, extracted: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    with with_cache(user, tmp_path, servers, cache_dir) as hub:
        before = servers.requests()
        assert files(hub.path / WHOLE) == files(model)
        assert servers.requests() == before
        assert url_of(hub, WHOLE) == f"file://{cache_dir / extracted[WHOLE].name}"
        assert hub.status()["recent_problems"] == []


@pytest.mark.parametrize(("handle", "reason"), [(CUT, "is missing"), (LOCKED, ".lock says")])
def test_what_may_not_be_whole_is_left_aside_and_the_hub_is_asked(
    user: Machine,
    servers: Origin,
    cache_dir: Path,
    extracted: dict[str, Path],
    model: Path,
    tmp_path: Path,
    handle: str,
    reason: str,
) -> None:
    directory = cache_dir / extracted[handle].name
    left = files(directory)
    assert (left == files(model)) is (handle == LOCKED)
    with with_cache(user, tmp_path, servers, cache_dir) as hub:
        before = servers.sent_bytes(handle)
        assert files(hub.path / handle) == files(model)
        assert servers.sent_bytes(handle) > before
        assert url_of(hub, handle).startswith(servers.url)
        (problem,) = hub.status()["recent_problems"]
        assert f"{directory}, is left aside" in problem or f"to {directory} is left aside" in problem
        assert reason in problem
    assert files(directory) == left, "what the library made is the library's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be attacked by another user")
def test_a_model_that_another_user_planted_is_not_served(
    user: Machine, servers: Origin, extracted: dict[str, Path], tmp_path: Path
) -> None:
    """The directory has mode 1777, as teams have them; the hub has no such model."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    url = f"{servers.url}/test/planted/1"
    planted = shared / hashlib.sha1(url.encode()).hexdigest()
    shutil.copytree(extracted[WHOLE], planted)
    descriptor = planted.with_name(f"{planted.name}.descriptor.txt")
    descriptor.write_text(f"Module: {url}\n")
    for path in (planted, descriptor, *planted.rglob("*")):
        os.chown(path, 65534, 65534)
    with with_cache(user, tmp_path, servers, shared) as hub:
        assert not os.path.lexists(hub.path / "test/planted/1")
        (problem,) = hub.status()["recent_problems"]
        assert f"to {planted}, is left aside: {descriptor} belongs to user 65534" in problem
    doctor = user.with_environment(TFHUB_CACHE_DIR=str(shared)).hubfs("doctor", "--hub", servers.url)
    assert f"not served: {descriptor} belongs to user 65534" in doctor.stdout


def test_without_the_variable_the_hub_is_asked(user: Machine, servers: Origin, model: Path, tmp_path: Path) -> None:
    with mounted(user, tmp_path / "hub", servers.url) as hub:
        before = servers.sent_bytes(WHOLE)
        assert files(hub.path / WHOLE) == files(model)
        assert servers.sent_bytes(WHOLE) > before


def test_the_variable_may_name_the_mount_itself(user: Machine, servers: Origin, model: Path, tmp_path: Path) -> None:
    """As it does for those who set it for every program that they start."""
    own = tmp_path / "hub" / ".hubfs" / "tfhub_modules"
    with with_cache(user, tmp_path, servers, own) as hub:
        assert files(hub.path / WHOLE) == files(model)
        status = hub.status()
        (problem,) = status["recent_problems"]
        assert f"TFHUB_CACHE_DIR is ignored: {own} is on a mount" in problem
        assert Path(status["cache_dir"]).is_relative_to(user.home)
        with with_cache(user, tmp_path / "other", servers, own) as other:
            assert files(other.path / WHOLE) == files(model)
            assert f"{own} is on a mount" in other.status()["recent_problems"][0]
    assert list((tmp_path / "hub").iterdir()) == []


def test_a_cache_directory_on_the_mount_itself_is_refused(user: Machine, servers: Origin, tmp_path: Path) -> None:
    mountpoint = tmp_path / "hub"
    mountpoint.mkdir()
    (tmp_path / "link").symlink_to(mountpoint)
    for cache_dir in (mountpoint / "cache", tmp_path / "link" / "cache"):
        done = user.hubfs("mount", mountpoint, "--hub", servers.url, "--cache-dir", cache_dir)
        clear(mountpoint)  # by force: a daemon whose cache is on its own mount answers nobody
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert f"{cache_dir} is on a mount of hubfs" in line
    assert list(mountpoint.iterdir()) == []

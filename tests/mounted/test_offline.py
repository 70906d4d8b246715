"""Without the hub: `--offline`, which asks nobody, and hubs that cannot be reached, which disturb nobody."""

import errno
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hubfs.hubs.tfhub.bundled import bundled_catalogue
from hubfs.models.answers import ModelsSettings
from tests.conftest import SMALL, MountHub
from tests.support.catalogue import public_handles
from tests.support.files import files
from tests.support.hosted import manifest, put, put_tfjs
from tests.support.http_origin import Answer, HttpOrigin, stall_first
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin
from tests.support.paths import ROOT
from tests.support.waiting import Stopwatch, eventually

pytestmark = pytest.mark.mounted

NAME, VERSION = SMALL.rsplit("/", 1)
WEIGHTS = "variables/variables.data-00000-of-00001"
PATIENCE_S = 240
"""How long a connection may take: longer than everything that a test does."""

LISTING_PATIENCE_S = ModelsSettings.listing_patience_s

LITE = "noise/lite-model/ears/1"
TFJS = "noise/tfjs-model/ears/1"
TFLITE = b"\x1c\0\0\0TFL3" + bytes(1_200_000)
TFJS_FILES = {"model.json": manifest(["group1-shard1of1.bin"]), "group1-shard1of1.bin": bytes(range(256)) * 9}


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    """Gets a line for each connection that a daemon `kept_off` the network tried to make."""
    return tmp_path / "attempts"


@pytest.fixture
def kept_off(attempts: Path) -> dict[str, str]:
    """The environment of a daemon that cannot make a connection, whatever library it uses."""
    search = [str(ROOT / "tests" / "support" / "offline"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(search), "HUBFS_TEST_ATTEMPTS": str(attempts)}


@pytest.fixture
def hub_origin(tmp_path: Path, small: Path) -> Iterator[HttpOrigin]:
    """Hosts SMALL as an archive, and the models of the other kinds."""
    archive = pack(small, tmp_path / "small.tar.gz").read_bytes()
    with HttpOrigin() as origin:
        put(origin, f"/{SMALL}", "tf-hub-format=compressed", archive)
        put(origin, f"/{NAME}", "tf-hub-format=compressed", archive)
        put(origin, f"/{LITE}", "lite-format=tflite", TFLITE)
        put_tfjs(origin, f"/{TFJS}", TFJS_FILES)
        yield origin


def errno_of(ask: Callable[[], object]) -> int | None:
    with pytest.raises(OSError, match=r"Errno") as caught:
        ask()
    return caught.value.errno


def test_offline_serves_complete_models_and_opens_no_connection(
    mount: MountHub,
    origin: Origin,
    small: Path,
    kept_off: dict[str, str],
    attempts: Path,
    machine: Machine,
    tmp_path: Path,
) -> None:
    with mount(origin) as hub:
        assert files(hub.path / SMALL) == files(small)
    before = origin.requests()
    user = machine.with_environment(**origin.environment, **kept_off)
    with mounted(user, tmp_path / "hub", origin.url, "--format", origin.form, "--offline") as hub:
        model = hub.path / SMALL
        assert files(model) == files(small)
        assert os.listdir(hub.path / "noise") == ["small"]
        assert sorted(os.listdir(hub.path / NAME)) == [VERSION, "latest"]
        assert files(hub.path / NAME / "latest") == files(small)
        # As loaders look for files that need not be there.
        assert errno_of((model / "saved_model.pbtxt").stat) == errno.ENOENT
        assert errno_of((model / "debug" / "saved_model_debug_info.pb").stat) == errno.ENOENT
        unknown = hub.path / "noise" / "other" / "3"
        assert errno_of(unknown.stat) == errno.EHOSTUNREACH
        assert errno_of((unknown / "saved_model.pb").stat) == errno.EHOSTUNREACH
        assert errno_of((unknown.parent / "latest").readlink) == errno.EHOSTUNREACH
        assert "3: " in (reason := hub.error_of(unknown.parent))
        assert f"{origin.url}/noise/other/3 is not cached" in reason
        assert "--offline" in reason
        status = hub.status()
        (described,) = [one for one in status["models"] if one["handle"] == SMALL]
        assert status["offline"] is True
        assert status["http"] == {"requests": 0, "bytes_received": 0}
        assert (described["error"], described["cached_bytes"]) == (None, described["size_bytes"])
        assert "offline" in hub.machine.hubfs("status", hub.path).stdout
    assert origin.requests() == before
    assert not attempts.exists(), attempts.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_offline_needs_no_network_at_all(
    mount: MountHub, servers: Origin, small: Path, machine: Machine, tmp_path: Path
) -> None:
    with mount(servers) as hub:
        assert files(hub.path / SMALL) == files(small)
    nowhere = Machine(machine.root, {**machine.environment, **servers.environment}, ("unshare", "--net"))
    with mounted(nowhere, tmp_path / "hub", servers.url, "--offline") as hub:
        assert files(hub.path / SMALL) == files(small)
        (daemon,) = hub.pids()
        interfaces = Path(f"/proc/{daemon}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_offline_says_what_is_missing_of_a_model_that_is_cached_in_part(
    mount: MountHub, servers: Origin, small: Path, machine: Machine, tmp_path: Path
) -> None:
    weights = (small / WEIGHTS).read_bytes()
    with mount(servers.asked_for("uncompressed"), "--prefetch", "none") as hub:
        with (hub.path / SMALL / WEIGHTS).open("rb", buffering=0) as file:
            assert os.pread(file.fileno(), 4096, 0) == weights[:4096]
        assert hub.status()["models"][0]["cached_bytes"] < len(weights)
    user = machine.with_environment(**servers.environment)
    before = servers.requests()
    with mounted(user, tmp_path / "hub", servers.url, "--format", "uncompressed", "--offline") as hub:
        path = hub.path / SMALL / WEIGHTS
        assert path.stat().st_size == len(weights)
        with path.open("rb", buffering=0) as file:
            assert os.pread(file.fileno(), 4096, 0) == weights[:4096]
            last = len(weights) - 4096
            assert errno_of(lambda: os.pread(file.fileno(), 4096, last)) == errno.EHOSTUNREACH
        (model,) = hub.status()["models"]
        missing_bytes = len(weights) - model["cached_bytes"]
        assert model["cached_bytes"] < model["size_bytes"] == sum(map(len, files(small).values()))
        for reason in (hub.error_of(path), hub.error_of(hub.path / SMALL), model["error"]):
            assert f"{missing_bytes} of {len(weights)} bytes" in reason
            assert WEIGHTS in reason
            assert "--offline" in reason
        assert (model["trouble"]["errno"], model["trouble"]["path"]) == ("EHOSTUNREACH", WEIGHTS)
        assert reason in hub.log()
        assert errno_of((hub.path / SMALL / "saved_model.pb").read_bytes) == errno.EHOSTUNREACH
    assert servers.requests() == before


def test_offline_with_nothing_cached_still_mounts(machine: Machine, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_text('{"kind": "Module", "handle": "google/spice/2"}\n')
    for options in (["--no-disk-cache"], ["--catalog", catalog]):
        with mounted(machine, tmp_path / "hub", "https://tfhub.dev", "--offline", *options) as hub:
            shown = {*os.listdir(hub.path)}
            assert shown == {".hubfs", "google"} if "--catalog" in options else {"google", "tensorflow"} < shown
            assert errno_of((hub.path / "google" / "spice" / "2").stat) == errno.EHOSTUNREACH


def test_offline_has_every_kind_of_model(
    machine: Machine, tmp_path: Path, hub_origin: HttpOrigin, kept_off: dict[str, str], attempts: Path
) -> None:
    wanted = {LITE: {"model.tflite": TFLITE}, TFJS: TFJS_FILES}
    with mounted(machine, tmp_path / "hub", hub_origin.url) as hub:
        assert {handle: files(hub.path / handle) for handle in wanted} == wanted
    with mounted(machine.with_environment(**kept_off), tmp_path / "hub", hub_origin.url, "--offline") as hub:
        assert {handle: files(hub.path / handle) for handle in wanted} == wanted
        assert errno_of((hub.path / LITE).with_name("2").stat) == errno.EHOSTUNREACH
    assert not attempts.exists(), attempts.read_text()


def test_offline_has_the_models_of_a_hub_in_a_bucket_and_asks_no_shared_cache(
    machine: Machine, tmp_path: Path, servers: Origin, small: Path, kept_off: dict[str, str], attempts: Path
) -> None:
    user = machine.with_environment(**servers.environment, HUBFS_GCS_TOKEN="anon")
    with mounted(user, tmp_path / "hub", "gs://models") as hub:
        assert files(hub.path / SMALL) == files(small)
    before = servers.requests()
    fleet = user.with_environment(
        **kept_off, HUBFS_CACHE_DIR=str(machine.home / ".cache" / "hubfs"), HUBFS_GCS_TOKEN="google_default"
    )
    options = ("--cache-dir", "gs://fleet/cache", "--offline")
    with mounted(fleet, tmp_path / "hub", "gs://models", *options) as hub:
        assert files(hub.path / SMALL) == files(small)
        assert os.listdir(hub.path / "noise") == ["small"]
        assert (hub.path / NAME / "latest").readlink() == Path(VERSION)
    assert servers.requests() == before
    assert not attempts.exists(), attempts.read_text()


@contextmanager
def full_backlog(address: tuple[str, int]) -> Iterator[None]:
    """Whoever connects there waits as long as he likes: as for a host behind a firewall that says nothing."""
    with ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(0)
        for _ in range(2):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield


DOWN = {
    "500": Answer(500),
    "403": Answer(403),
    "a page": Answer(200, {"Content-Type": "text/html"}, b"<html>sign in</html>"),
}
"""What a hub answers that is down; `refused` and `silent` ones answer nothing."""


@contextmanager
def down(host: str, how: str) -> Iterator[None]:
    """The hub as it is when it is down."""
    address, _, port = host.partition(":")
    if how == "silent":
        with full_backlog((address, int(port))):
            yield
    elif how == "refused":
        yield
    else:
        with HttpOrigin(address=address, port=int(port)) as origin:
            for path in (SMALL, NAME):
                origin.route(f"/{path}", lambda _: DOWN[how])
            yield


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory, small: Path) -> tuple[str, Path]:
    """A host where a hub was, and the home of a machine that has read SMALL from it, and its `latest`."""
    home = tmp_path_factory.mktemp("gone")
    archive = pack(small, home / "small.tar.gz").read_bytes()
    machine = Machine(home / "machine", {"HUBFS_FUSE_LIBRARY": "session"})
    with HttpOrigin(address="127.4.0.4") as origin:  # where nobody else listens, so the port stays ours
        put(origin, f"/{SMALL}", "tf-hub-format=compressed", archive)
        put(origin, f"/{NAME}", "tf-hub-format=compressed", archive)
        with mounted(machine, home / "hub", origin.url) as hub:
            assert files(hub.path / SMALL) == files(small)
            assert (hub.path / NAME / "latest").readlink() == Path(VERSION)
    return origin.host, machine.home


@pytest.mark.parametrize("how", ["refused", "silent", *DOWN])
def test_a_hub_that_is_down_disturbs_no_cached_model(
    machine: Machine, tmp_path: Path, small: Path, gone: tuple[str, Path], how: str
) -> None:
    host, home = gone
    user = machine.with_environment(HUBFS_CONNECT_TIMEOUT=f"{PATIENCE_S}s", HUBFS_FAILURE_TTL="1s")
    shutil.copytree(home, machine.home)
    with down(host, how), mounted(user, tmp_path / "hub", f"http://{host}") as hub:
        assert files(hub.path / SMALL) == files(small)
        assert os.listdir(hub.path / SMALL)
        assert errno_of((hub.path / SMALL / "saved_model.pbtxt").stat) == errno.ENOENT
        assert hub.status()["http"]["requests"] == 0, "a cached model asked the hub"
        # `latest` and listings ask, and nobody waits for a connection: one would take longer than all of this.
        for _ in range(20):
            assert (hub.path / NAME / "latest").readlink() == Path(VERSION)
            assert sorted(os.listdir(hub.path / NAME)) == [VERSION, "latest"]
            assert os.listdir(hub.path / "noise") == ["small"]
        assert files(hub.path / NAME / "latest") == files(small)
        assert hub.status()["uptime_s"] < PATIENCE_S, "somebody waited for a connection"
        latest = _latest(hub)
        assert (latest["version"], latest["stale"]) == (VERSION, True)
        assert latest["asked_at"] is not None, "the last answer was not kept"
        assert latest["error"]
        said = os.getxattr(hub.path / NAME, "user.hubfs.stale").decode()
        assert said == f"latest -> {VERSION}: {latest['error']}"
        assert f"{NAME}/latest: version {VERSION}, which may be old" in hub.machine.hubfs("status", hub.path).stdout
        assert hub.log().count("/latest stays at version") == 1


def test_a_hub_that_hangs_costs_a_poller_one_wait(
    machine: Machine, tmp_path: Path, hub_origin: HttpOrigin, small: Path
) -> None:
    user = machine.with_environment(HUBFS_FAILURE_TTL="1s")  # for how long a hub that does not answer is left alone
    with mounted(user, tmp_path / "hub", hub_origin.url) as hub:
        assert files(hub.path / SMALL) == files(small)
        hub_origin.route("*", lambda _: stall_first()(Answer(200)))
        hub_origin.route(f"/{NAME}", lambda _: stall_first()(Answer(200)))
        waits = 0
        for _ in range(8):
            begun_s = time.monotonic()
            assert sorted(os.listdir(hub.path / NAME)) == [VERSION, "latest"]
            waits += time.monotonic() - begun_s > LISTING_PATIENCE_S / 2
            time.sleep(1.2)
        assert waits == 1
        assert "answers again" not in hub.log()
        assert f"/{NAME}" in {request.path for request in hub_origin.requests}, "nobody asks any more"


def test_a_hub_that_comes_back_is_asked_again_and_what_was_old_is_forgotten(
    machine: Machine, tmp_path: Path, hub_origin: HttpOrigin, small: Path
) -> None:
    user = machine.with_environment(HUBFS_FAILURE_TTL="1s")
    with mounted(user, tmp_path / "hub", hub_origin.url) as hub:
        assert files(hub.path / SMALL) == files(small)
        link = hub.path / NAME / "latest"
        hub_origin.always(f"/{NAME}", lambda _: Answer(403))
        assert link.readlink() == Path(VERSION)
        assert _latest(hub)["stale"] is True
        hub_origin.reset()
        assert eventually(lambda: link.readlink() == Path(VERSION) and not _latest(hub)["stale"])
        assert _latest(hub)["error"] is None
        assert errno_of(lambda: os.getxattr(hub.path / NAME, "user.hubfs.stale")) == errno.ENODATA
        log = hub.log()
        assert log.count("/latest stays at version") == log.count("/latest is what the hub says again") == 1


def test_a_last_answer_that_was_spoiled_on_the_disk_is_as_good_as_none(
    machine: Machine, tmp_path: Path, hub_origin: HttpOrigin, small: Path
) -> None:
    with mounted(machine, tmp_path / "hub", hub_origin.url) as hub:
        assert files(hub.path / SMALL) == files(small)
        assert (hub.path / NAME / "latest").readlink() == Path(VERSION)
    (kept,) = (machine.home / ".cache" / "hubfs" / "latest").rglob("@latest.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_text(kept.read_text().replace(f'"version": "{VERSION}"', '"version": "7"'))
    with mounted(machine, tmp_path / "hub", hub_origin.url, "--offline") as hub:
        assert (hub.path / NAME / "latest").readlink() == Path(VERSION)
        assert _latest(hub)["asked_at"] is None
    shutil.rmtree(machine.home / ".cache" / "hubfs" / "latest")
    with mounted(machine, tmp_path / "hub", hub_origin.url, "--offline") as hub:
        assert (hub.path / NAME / "latest").readlink() == Path(VERSION)


def _latest(hub: Mount) -> dict[str, object]:
    (latest,) = hub.status()["latest"]
    return dict(latest)


def test_a_fresh_mount_of_the_public_hub_lists_everything_with_no_network(machine: Machine, tmp_path: Path) -> None:
    models, collections = public_handles().models, public_handles().collections
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a proxy that takes connections, and never says a word
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        user = machine.with_environment(HTTPS_PROXY=proxy, https_proxy=proxy, NO_PROXY="", no_proxy="")
        with mounted(user, tmp_path / "hub", "https://tfhub.dev") as hub:
            watch = Stopwatch()
            assert {"google", "tensorflow", "deepmind"} < {*os.listdir(hub.path)}
            assert watch.took_s() < LISTING_PATIENCE_S, "nobody waits so long who can be shown the catalogue"
            assert sorted(os.listdir(hub.path / "google" / "spice")) == ["1", "2", "README.md", "latest"]
            assert (hub.path / "google" / "spice" / "latest").readlink() == Path("2")
            walked = "tensorflow/tfjs-model/deeplab/ade20k/1/quantized/2"
            assert sorted(os.listdir(hub.path / walked)) == ["1", "README.md", "latest"]
            assert {f"{walked}/1", "google/spice/2"} < {*_listed(hub.path, models)} == {*models}
            for collection in collections:
                links = {str((hub.path / collection / name).readlink()) for name in os.listdir(hub.path / collection)}
                members = bundled_catalogue().collection(collection)
                assert links == {f"{'../' * (collection.count('/') + 1)}{member}" for member in members}
            assert hub.status()["http"]["bytes_received"] == 0


def test_offline_the_public_catalogue_is_listed_and_nobody_is_asked(
    machine: Machine, kept_off: dict[str, str], attempts: Path, tmp_path: Path
) -> None:
    user = machine.with_environment(**kept_off)
    with mounted(user, tmp_path / "hub", "https://tfhub.dev", "--offline") as hub:
        spice = hub.path / "google" / "spice"
        assert sorted(os.listdir(spice)) == ["1", "2", "README.md", "latest"]
        assert (spice / "latest").readlink() == Path("2")
        assert errno_of((spice / "2").stat) == errno.EHOSTUNREACH
        typed = hashlib.sha1(b"https://tfhub.dev/google/spice/2").hexdigest()  # as tensorflow_hub looks for it
        assert (hub.path / ".hubfs" / "tfhub_modules" / typed).readlink() == Path("../../google/spice/2")
    assert not attempts.exists(), attempts.read_text()


def test_of_another_hub_nothing_of_the_public_catalogue_is_shown(
    machine: Machine, hub_origin: HttpOrigin, tmp_path: Path
) -> None:
    with mounted(machine, tmp_path / "hub", hub_origin.url) as hub:
        assert os.listdir(hub.path) == [".hubfs"]
        assert os.listdir(hub.path / "google") == []


def _listed(folder: Path, models: Container[str], above: str = "") -> Iterator[str]:
    """The model roots that a walk by listings alone meets: no name is looked up but those of directories above."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != ".hubfs"]
    for name in names:
        if above + name in models:
            yield above + name
        else:
            yield from _listed(folder / name, models, f"{above}{name}/")

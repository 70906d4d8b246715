"""What programs make of the times, when `latest` moves to a version whose files have the old sizes."""

import email.utils
import http.client
import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubfs.tree.times import BASE_S
from tests.support.files import files, listed
from tests.support.http_origin import Answer, HttpOrigin, Resource, Route, redirect
from tests.support.models import pack, small_model
from tests.support.mount import Machine, Mount, mounted
from tests.support.nginx import nginx_files
from tests.support.programs import output_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NAME = "noise/small"
FILE = "saved_model.pb"
LATE_S = 12
DATE, LATER = "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT"

DATES = {
    "packed at once": (DATE, DATE),
    "published since": (DATE, "now"),
    "without dates": (None, None),
    "with a later version that is dated before": (LATER, DATE),
}
"""The dates of versions 1 and 2."""


def run(*command: str | Path) -> str:
    return output_of(command, timeout=120)


def of_form(route: Route) -> Route:
    """Answers the question for the compressed form; the others, as a hub that knows no such model."""
    return lambda request: route(request) if request.query == "tf-hub-format=compressed" else Answer(404)


def publish(origin: HttpOrigin, archive: Path, version: int, date: str | None) -> None:
    """Hosts an archive as a version of NAME, which names without a version lead to from now on."""
    date = email.utils.formatdate(time.time(), usegmt=True) if date == "now" else date
    resource = Resource(archive.read_bytes(), etag=f'"{version}"', last_modified=date)
    origin.route(f"/{NAME}/{version}", of_form(resource))
    origin.route(f"/{NAME}", of_form(redirect(f"/{NAME}/{version}?tf-hub-format=compressed")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, Path]]:
    """Two versions, as weights that were trained anew: other bytes in files of the same sizes; and their archives."""
    home = tmp_path_factory.mktemp("models")
    made = {version: small_model(home / str(version), seed=version) for version in (1, 2)}
    return {version: (model, pack(model, home / f"{version}.tar.gz")) for version, model in made.items()}


@dataclass(frozen=True)
class Moved:
    """A mount whose `latest` has moved from version 1 to 2, and what was made of it in `home` while it led to 1."""

    dates: str
    latest: Path
    home: Path
    web: str
    etag: str

    def makes(self) -> str:
        """A makefile that copies FILE; where the versions are older than any copy, with the time of the original."""
        command = "cp" if self.dates == "published since" else "cp -p"
        return f"{self.home}/made: {self.latest}/{FILE}\n\t{command} $< $@\n"

    def make(self) -> str:
        """What `make` does."""
        (self.home / "Makefile").write_text(self.makes())
        return run("make", "-f", self.home / "Makefile")

    def rsync(self) -> int:
        """How many files `rsync -a` transfers."""
        said = run("rsync", "-a", "--stats", f"{self.latest}/", self.home / "rsync")
        return int(re.search(r"files transferred: (\d+)", said)[1])  # type: ignore[index]

    def update(self) -> None:
        """Copies with `cp -u` as `makes` does."""
        times = [] if self.dates == "published since" else ["--preserve=timestamps"]
        run("cp", "-r", "-u", *times, f"{self.latest}/.", self.home / "cp")

    def get(self, etag: str | None = None) -> tuple[int, str, bytes]:
        """Status, ETag and body of FILE, as nginx serves it."""
        connection = http.client.HTTPConnection(self.web.removeprefix("http://"), timeout=30)
        with closing(connection):
            connection.request("GET", f"/latest/{FILE}", headers={"If-None-Match": etag} if etag else {})
            reply = connection.getresponse()
            return reply.status, reply.headers["ETag"], reply.read()


@pytest.fixture(scope="module", params=DATES)
def moved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: dict[int, tuple[Path, Path]]
) -> Iterator[Moved]:
    home = tmp_path_factory.mktemp("moved")
    first, second = DATES[request.param]
    with HttpOrigin() as origin, mounted(Machine(home / "machine"), home / "hub", origin.url) as hub:
        publish(origin, models[1][1], 1, first)
        latest = hub.path / NAME / "latest"
        (home / "cp").mkdir()
        with nginx_files(home / "nginx", hub.path / NAME) as web:
            before = Moved(request.param, latest, home, web, "")
            for make in (before.make, before.rsync, before.update):
                make()
            etag, served = before.get()[1:]
            assert {(home / "made").read_bytes(), served} == {(models[1][0] / FILE).read_bytes()}
            assert files(home / "rsync") == files(home / "cp") == files(models[1][0])
            publish(origin, models[2][1], 2, second)
            assert eventually(lambda: latest.readlink() == Path("2"), LATE_S)
            yield Moved(request.param, latest, home, web, etag)


def test_rsync_transfers_what_differs_and_nothing_twice(moved: Moved, models: dict[int, tuple[Path, Path]]) -> None:
    new = files(models[2][0])
    assert moved.rsync() == len(new)
    assert files(moved.home / "rsync") == new
    assert moved.rsync() == 0


def test_cp_copies_what_is_newer(moved: Moved, models: dict[int, tuple[Path, Path]]) -> None:
    moved.update()
    # What the origin dates before is older, for everybody who asks for that alone.
    expected = 1 if moved.dates == "with a later version that is dated before" else 2
    assert files(moved.home / "cp") == files(models[expected][0])


def test_make_makes_what_is_older(moved: Moved, models: dict[int, tuple[Path, Path]]) -> None:
    moved.make()
    expected = 1 if moved.dates == "with a later version that is dated before" else 2
    assert (moved.home / "made").read_bytes() == (models[expected][0] / FILE).read_bytes()


def test_nginx_has_another_etag(moved: Moved, models: dict[int, tuple[Path, Path]]) -> None:
    status, etag, body = moved.get(moved.etag)
    assert (status, body) == (200, (models[2][0] / FILE).read_bytes())
    assert moved.get(etag)[0] == 304


def test_the_times_are_the_same_in_every_mount(tmp_path: Path, models: dict[int, tuple[Path, Path]]) -> None:
    names = listed(models[1][0]) | {""}

    def seen(hub: Mount) -> dict[str, int]:
        return {name: (hub.path / NAME / "1" / name).stat().st_mtime_ns for name in names}

    shared = {"TFHUB_CACHE_DIR": f"file://{tmp_path}/shared"}
    here, there, alone = (Machine(tmp_path / name, shared) for name in ("here", "there", "alone"))
    with HttpOrigin() as origin:
        publish(origin, models[1][1], 1, DATE)
        with mounted(here, tmp_path / "hub", origin.url) as hub:
            first = seen(hub)
            assert len({time_ns for name, time_ns in first.items() if name}) == 1
            assert first[""] // 10**9 == BASE_S + 1, "of the version alone: it was there before anybody looked inside"
            assert files(hub.path / NAME / "1") == files(models[1][0])
        with mounted(
            alone.with_environment(TFHUB_CACHE_DIR=""), tmp_path / "hub", origin.url, "--no-disk-cache"
        ) as hub:
            assert seen(hub) == first
        publish(origin, models[1][1], 1, LATER)  # the same bytes, copied again
        with mounted(here, tmp_path / "hub", origin.url) as hub:
            assert seen(hub) == first
        with mounted(there, tmp_path / "hub", origin.url) as hub:
            assert seen(hub) == first
        with mounted(here, tmp_path / "hub", origin.url, "--offline") as hub:
            assert seen(hub) == first


@pytest.mark.parametrize("archiver", ["bsdtar -cf {archive} .", "find . | cpio -o -H newc > {archive}"])
def test_archivers_take_latest_along(
    machine: Machine, tmp_path: Path, models: dict[int, tuple[Path, Path]], archiver: str
) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    out.mkdir()
    with HttpOrigin() as origin:
        publish(origin, models[1][1], 1, DATE)
        with mounted(machine, tmp_path / "hub", origin.url) as hub:
            assert (hub.path / NAME / "1" / FILE).is_file()  # a listing shows what was found
            run("sh", "-ec", f"cd {hub.path / NAME}; {archiver.format(archive=archive)}")
    run("bsdtar", "-xf", archive, "-C", out)
    assert (out / "latest").readlink() == Path("1")
    assert files(out / "1") == files(models[1][0])


def test_the_size_of_latest_is_right_again_once_it_was_followed(
    machine: Machine, tmp_path: Path, models: dict[int, tuple[Path, Path]]
) -> None:
    with HttpOrigin() as origin:
        publish(origin, models[1][1], 9, DATE)
        with mounted(machine, tmp_path / "hub", origin.url) as hub:
            latest = hub.path / NAME / "latest"
            assert (latest.readlink(), latest.lstat().st_size) == (Path("9"), 1)
            publish(origin, models[2][1], 10, DATE)
            assert eventually(lambda: latest.readlink() == Path("10"), LATE_S)
            assert latest.lstat().st_size == 2
            run("bsdtar", "-cf", tmp_path / "archive", "-C", hub.path / NAME, "latest")
    run("bsdtar", "-xf", tmp_path / "archive", "-C", tmp_path)
    assert (tmp_path / "latest").readlink() == Path("10")


def test_find_asks_no_hub_for_the_size_of_a_link(
    machine: Machine, tmp_path: Path, models: dict[int, tuple[Path, Path]]
) -> None:
    with HttpOrigin() as origin:
        publish(origin, models[1][1], 1, DATE)
        with mounted(machine, tmp_path / "hub", origin.url) as hub:
            assert (hub.path / NAME / "1" / FILE).is_file()
            asked = len(origin.requests)
            assert (hub.path / NAME / "latest").lstat().st_size == 1
            assert len(origin.requests) == asked
    assert not [request for request in origin.requests if request.path == f"/{NAME}"]


def test_df_shows_the_limit_of_the_cache(
    machine: Machine, tmp_path: Path, models: dict[int, tuple[Path, Path]]
) -> None:
    def df(hub: Mount) -> list[int]:
        return [*map(int, run("df", "-B1", "--output=size,used,avail", hub.path).splitlines()[1].split())]

    with HttpOrigin() as origin:
        publish(origin, models[1][1], 1, DATE)
        with mounted(machine, tmp_path / "hub", origin.url, "--cache-size", "1GiB") as hub:
            assert df(hub) == [1 << 30, 0, 0]
            copied_bytes = sum(map(len, files(hub.path / NAME / "1").values()))
            size_bytes, used_bytes, free_bytes = df(hub)
            assert (size_bytes, free_bytes) == (1 << 30, 0)
            assert copied_bytes <= used_bytes < 2 * copied_bytes
        with mounted(machine, tmp_path / "hub", origin.url, "--no-disk-cache", "--memory-size", "64MiB") as hub:
            assert df(hub)[0] == 64 << 20

"""`latest` and the versions beside it: what a hub publishes shows within the ten seconds that an answer is believed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource, Route, redirect
from tests.support.models import pack, small_model
from tests.support.mount import Machine, mounted
from tests.support.nginx import NginxHub, nginx_hub
from tests.support.serving import serving, write_model
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NAME = "noise/small"
TTL_S = 10
LATE_S = TTL_S + 2


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[NginxHub]:
    """Sends names without a version to their newest one."""
    with nginx_hub(tmp_path / "nginx", versions=9) as hub:
        yield hub


def publish(hub: NginxHub, work: Path, version: int, name: str = NAME) -> dict[str, bytes]:
    """Hosts another model under that version; returns its files."""
    model = small_model(work / f"model-{version}", seed=version)
    hub.host_archive(f"{name}/{version}", pack(model, work / f"{version}.tar.gz"))
    return files(model)


def test_a_new_version_shows_within_the_ttl_and_disturbs_no_reader(
    machine: Machine, tmp_path: Path, nginx: NginxHub
) -> None:
    first = publish(nginx, tmp_path, 1)
    with mounted(machine, tmp_path / "hub", nginx.url, "--format", "compressed") as hub:
        model = hub.path / NAME
        assert (model / "latest").readlink() == Path("1")
        assert sorted(os.listdir(model)) == ["1", "latest"]
        with (model / "latest" / "variables" / "variables.data-00000-of-00001").open("rb", buffering=0) as reader:
            begun = reader.read(100_000)
            second = publish(nginx, tmp_path, 2)
            assert eventually(lambda: (model / "latest").readlink() == Path("2"), LATE_S)
            assert eventually(lambda: sorted(os.listdir(model)) == ["1", "2", "latest"], LATE_S)
            assert files(model / "latest") == second
            assert begun + reader.read() == first["variables/variables.data-00000-of-00001"]
        assert files(model / "1") == first


def test_a_hub_served_from_a_directory_publishes_by_rename(machine: Machine, tmp_path: Path) -> None:
    served = tmp_path / "served"
    first = write_model(served, f"{NAME}/1", seed=1)
    with serving(served) as url, mounted(machine, tmp_path / "hub", url) as hub:
        model = hub.path / NAME
        # As a model server polls its base path: it lists, and loads the highest number.
        assert _numbers(model) == [1]
        assert files(model / "latest") == first
        with (model / "latest" / "saved_model.pb").open("rb") as reader:
            begun = reader.read(1)
            second = write_model(tmp_path / "staged", "2", seed=2)
            (tmp_path / "staged" / "2").rename(served / NAME / "2")
            assert eventually(lambda: _numbers(model) == [1, 2], LATE_S)
            assert eventually(lambda: (model / "latest").readlink() == Path("2"), LATE_S)
            assert files(model / "latest") == files(model / str(_numbers(model)[-1])) == second
            assert begun + reader.read() == first["saved_model.pb"]


def test_versions_with_gaps_are_all_listed(machine: Machine, tmp_path: Path, nginx: NginxHub) -> None:
    published = {version: publish(nginx, tmp_path, version) for version in (1, 3, 4, 5)}
    with mounted(machine, tmp_path / "hub", nginx.url, "--format", "compressed") as hub:
        assert _numbers(hub.path / NAME) == [*published]
        assert (hub.path / NAME / "latest").readlink() == Path("5")
        assert not (hub.path / NAME / "2").exists()
        assert files(hub.path / NAME / "3") == published[3]
        before = len(nginx.requests())
        assert _numbers(hub.path / NAME) == [*published]
        assert len(nginx.requests()) == before, "the answer of a moment ago was not believed"


@pytest.mark.parametrize("shows_it", [True, False], ids=["in a redirect", "by counting up"])
def test_latest_is_what_the_unversioned_url_stands_for(machine: Machine, tmp_path: Path, shows_it: bool) -> None:  # noqa: FBT001 - a parameter of the test
    archives = {
        version: pack(small_model(tmp_path / f"model-{version}", seed=version), tmp_path / f"{version}.tar.gz")
        for version in (1, 3, 4, 5)
    }
    with HttpOrigin() as origin:
        for version, archive in archives.items():
            origin.route(f"/{NAME}/{version}", _of_form(Resource(archive.read_bytes(), etag=f'"{version}"')))
        newest = Resource(archives[5].read_bytes(), etag='"5"')
        to_newest = redirect(f"/{NAME}/5?tf-hub-format=compressed")
        origin.route(f"/{NAME}", _of_form(to_newest if shows_it else newest))
        with mounted(machine, tmp_path / "hub", origin.url) as hub:
            assert (hub.path / NAME / "latest").readlink() == Path("5")
            asked = len(origin.requests)
            assert asked <= (3 if shows_it else 20)
            assert files(hub.path / NAME / "latest") == files(tmp_path / "model-5")
            assert _numbers(hub.path / NAME) == [1, 3, 4, 5]


def test_without_the_hub_latest_stays_the_newest_version_that_is_known(machine: Machine, tmp_path: Path) -> None:
    served = tmp_path / "served"
    write_model(served, f"{NAME}/1", seed=1)
    second = write_model(served, f"{NAME}/2", seed=2)
    with serving(served) as url, mounted(machine, tmp_path / "hub", url) as hub:
        assert files(hub.path / NAME / "latest") == second
    with mounted(machine, tmp_path / "hub", url) as hub:
        assert (hub.path / NAME / "latest").readlink() == Path("2")
        assert files(hub.path / NAME / "latest") == second


def test_a_name_that_the_hub_does_not_have_has_no_latest(machine: Machine, tmp_path: Path, nginx: NginxHub) -> None:
    with mounted(machine, tmp_path / "hub", nginx.url, "--format", "compressed") as hub:
        with pytest.raises(FileNotFoundError):
            (hub.path / "noise" / "absent" / "latest").readlink()
        assert os.listdir(hub.path / "noise" / "absent") == []


def test_a_version_that_was_missed_a_moment_ago_is_found_through_latest(
    machine: Machine, tmp_path: Path, nginx: NginxHub
) -> None:
    publish(nginx, tmp_path, 1)
    with mounted(machine, tmp_path / "hub", nginx.url, "--format", "compressed") as hub:
        model = hub.path / NAME
        assert not (model / "2").exists()
        second = publish(nginx, tmp_path, 2)
        assert eventually(lambda: (model / "latest").readlink() == Path("2"), LATE_S)
        # The kernel believes "does not exist" for five seconds more at most.
        assert eventually((model / "2").exists, 5.5)
        assert files(model / "latest") == second


def _numbers(model: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(model) if name.isdigit())


def _of_form(route: Route) -> Route:
    """Answers the question for the compressed form; the others, as a hub that knows no such model."""

    def answer(request: Request) -> Answer:
        return route(request) if request.query == "tf-hub-format=compressed" else Answer(404)

    return answer

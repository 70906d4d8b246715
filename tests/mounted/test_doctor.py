"""`hubfs doctor`, as a user types it."""

import json

import pytest

from tests.support.mount import Machine, clear, mounted
from tests.support.origin import Origin

pytestmark = pytest.mark.mounted


@pytest.fixture
def user(machine: Machine, servers: Origin) -> Machine:
    return machine.with_environment(**servers.environment)


def findings(user: Machine, hub: str) -> tuple[int, dict[str, dict[str, str]]]:
    done = user.hubfs("doctor", "--hub", hub, "--json", timeout_s=60)
    assert not done.stderr
    return done.returncode, {finding["subject"]: finding for finding in json.loads(done.stdout)}


@pytest.mark.both_libfuses
def test_on_a_machine_in_order_it_finds_nothing_to_mend_and_leaves_nothing_behind(user, servers):
    status, found = findings(user, servers.url)
    here = {subject: one for subject, one in found.items() if not subject.startswith("mount ")}  # others' may be dead
    assert {one["verdict"] for one in here.values()} <= {"ok", "warning"}, here
    assert here["a mount on trial"]["verdict"] == here["hub"]["verdict"] == here["bucket"]["verdict"] == "ok"
    if status:
        assert any(one["verdict"] == "problem" for one in found.values())
    assert not list(user.temp.iterdir())


def test_it_names_dead_mounts_and_what_to_do(user, servers, tmp_path):
    with mounted(user, tmp_path / "hub", servers.url) as hub:
        _, found = findings(user, servers.url)
        assert found[f"mount {hub.path}"]["verdict"] == "ok"
        hub.kill()
        status, found = findings(user, servers.url)
        assert status == 1
        dead = found[f"mount {hub.path}"]
        assert dead["verdict"] == "problem"
        assert f"hubfs unmount {hub.path}" in dead["advice"]
        clear(hub.path)


def test_its_words_are_for_people(user, servers):
    done = user.hubfs("doctor", "--hub", "http://127.0.0.1:9")
    assert done.returncode == 1
    problem = next(line for line in done.stdout.splitlines() if line.startswith("problem hub: "))
    assert "refused" in problem

"""Every error says what happened, and what to do: in the log, the status, the attributes; and after it, no more."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hubfs import errors
from hubfs.commands.status.report import as_text
from tests.support.archives import flipped, gzipped, model_files, tar_of
from tests.support.figures import Figures
from tests.support.hosted import put
from tests.support.http_origin import Answer, DeadPort, Fault, HttpOrigin, stall, status
from tests.support.mount import Machine, Mount, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

FILES = model_files(variables_bytes=300_000)
ARCHIVE = gzipped(tar_of(FILES))
COMPRESSED = "tf-hub-format=compressed"
LITE = "lite-format=tflite"
TFLITE = b"\x1c\0\0\0TFL3" + os.urandom(9 << 20)
PAGE = status(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>sign in</html>")
SECRET = "signature-of-a-url"

_BUG = """
from hubfs.sources.archive.source import ArchiveSource
find = ArchiveSource.find
def buggy(source, path):
    if source.handle.name.endswith("/bug") and path and __import__("pathlib").Path({marker!r}).exists():
        raise ZeroDivisionError("planted")
    return find(source, path)
ArchiveSource.find = buggy
"""


@dataclass(frozen=True)
class Case:
    """A way to fail: what the host does to model `name`, and what is to be seen of it.

    `at_root`: the model root cannot be looked up, so its directory has the attribute. `kind` gives the advice.
    """

    name: str
    number: int
    reason: str
    kind: type[errors.HubfsError]
    fault: Fault | None = None
    at_root: bool = True
    lite: bool = False

    @property
    def handle(self) -> str:
        return f"noise/{'lite-model/' if self.lite else ''}{self.name}/1"

    @property
    def wanted(self) -> bytes:
        return TFLITE if self.lite else FILES["saved_model.pb"]

    def read(self, hub: Mount) -> bytes:
        return (hub.path / self.handle / ("model.tflite" if self.lite else "saved_model.pb")).read_bytes()


def redirected(to: str) -> Fault:
    return lambda _: Answer(302, {"Location": to})


def wrong_bit(answer: Answer) -> Answer:
    return Answer(200, answer.headers, flipped(ARCHIVE, len(ARCHIVE) * 4))


CASES = [
    Case("denied", errno.EACCES, "status 403", errors.AccessDenied, status(403)),
    Case("unauthorized", errno.EACCES, "status 401", errors.AccessDenied, status(401)),
    Case("stalled", errno.ETIMEDOUT, "sent nothing for 1 s", errors.TimedOut, stall(0)),
    Case("refused", errno.EHOSTUNREACH, "refused", errors.Unavailable),
    Case(
        "nameless",
        errno.EHOSTUNREACH,
        "nowhere.invalid",
        errors.Unavailable,
        redirected(f"http://nowhere.invalid/x?sig={SECRET}"),
    ),
    Case("overloaded", errno.EHOSTUNREACH, "503", errors.Unavailable, status(503)),
    Case("damaged", errno.EIO, "", errors.Damaged, wrong_bit, at_root=False),
    Case("garbage", errno.EIO, "neither a tar.gz nor a tar", errors.Damaged, status(200, {}, b"\0" * 9999)),
    Case("bug", errno.EIO, "ZeroDivisionError", errors.HubfsError, at_root=False),
    Case("changed", errno.ESTALE, "", errors.Stale, at_root=False, lite=True),
]
BY_NAME = {case.name: case for case in CASES}


@dataclass
class World:
    """A mounted hub whose models have all failed by now, each its own way. `found` has the errno of each reader."""

    hub: Mount
    origin: HttpOrigin
    found: dict[str, int | None]
    end: Callable[[], None]

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.hub.path / ".hubfs" / "status.json").read_bytes()))

    def model(self, case: Case) -> dict[str, Any]:
        return next(model for model in self.status()["models"] if model["handle"] == case.handle)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("explained")
    marker = home / "bug"
    marker.touch()
    (home / "planted").mkdir()
    (home / "planted" / "sitecustomize.py").write_text(_BUG.format(marker=str(marker)))
    machine = Machine(
        home / "machine",
        {
            "HUBFS_FUSE_LIBRARY": "session",
            "HUBFS_STALL_TIMEOUT": "1s",
            "HUBFS_FAILURE_TTL": "20s",
            "HUBFS_NEGATIVE_TTL": "1s",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(home / "planted"), os.environ.get("PYTHONPATH")])),
        },
    )
    with HttpOrigin() as origin, DeadPort() as refused:
        for case in CASES:
            body = TFLITE if case.lite else ARCHIVE
            put(origin, f"/{case.handle}", LITE if case.lite else COMPRESSED, body, etag='"1"')
            if case.fault is not None:
                origin.always(f"/{case.handle}", case.fault)
        origin.always(f"/{BY_NAME['refused'].handle}", redirected(f"{refused.url}/x?sig={SECRET}"))

        def end() -> None:
            origin.reset()
            marker.unlink()

        options = ("--format", "compressed", "--prefetch", "none")
        with mounted(machine, home / "hub", origin.url, *options) as hub, ThreadPoolExecutor(len(CASES)) as readers:

            def outcome(case: Case) -> int | None:
                try:
                    if case.name == "changed":
                        _read_across_a_change(hub, origin, case)
                    else:
                        case.read(hub)
                except OSError as error:
                    return error.errno
                return None

            found = dict(zip(BY_NAME, readers.map(outcome, CASES), strict=True))
            yield World(hub, origin, found, end)


def _read_across_a_change(hub: Mount, origin: HttpOrigin, case: Case) -> None:
    with (hub.path / case.handle / "model.tflite").open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 4096, 0) == TFLITE[:4096]
        put(origin, f"/{case.handle}", LITE, TFLITE, etag='"2"')
        os.pread(file.fileno(), 4096, len(TFLITE) - 4096)


every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_the_reader_gets_the_errno_of_the_table(world: World, case: Case, figures: Figures) -> None:
    assert world.found[case.name] == case.number, errno.errorcode.get(world.found[case.name] or 0)
    figures.add("explained", errors=1, **{errno.errorcode[case.number]: 1})


@every_case
def test_the_status_names_the_model_the_reason_and_what_to_do(world: World, case: Case) -> None:
    model = world.model(case)
    trouble = model["trouble"]
    assert case.reason in model["error"]
    assert (trouble["errno"], trouble["advice"]) == (errno.errorcode[case.number], case.kind.advice)
    assert trouble["count"] >= 1
    assert trouble["since"] <= trouble["last"]
    assert (trouble["retry_at"] is not None) == (case.name in ("damaged", "changed"))
    text = as_text(world.status())
    assert case.handle in text
    assert model["error"] in text
    assert case.kind.advice in text


@every_case
def test_the_attribute_says_the_same(world: World, case: Case) -> None:
    reason = world.model(case)["error"]
    root = world.hub.path / case.handle
    if case.at_root:
        assert world.hub.error_of(root.parent) == f"1: {reason}"
    else:
        assert world.hub.error_of(root) == reason


@every_case
def test_the_log_has_a_line_with_the_path_the_reason_and_what_to_do(world: World, case: Case) -> None:
    log = world.hub.log()
    if case.kind is errors.HubfsError:
        assert f"/{case.handle}/saved_model.pb: unexpected error" in log
        assert "Traceback (most recent call last)" in log
        assert "ZeroDivisionError: planted" in log
        return
    reason = world.model(case)["error"]
    lines = [line for line in log.splitlines() if f"/{case.handle}" in line and reason in line]
    assert any("WARNING" in line and line.endswith(f"({case.kind.advice})") for line in lines), lines
    assert world.origin.host in reason or case.name in ("refused", "nameless")


def test_no_such_model_is_an_answer_and_no_error(world: World) -> None:
    with pytest.raises(FileNotFoundError):
        (world.hub.path / "noise" / "absent" / "1").stat()
    assert "noise/absent/1" not in [model["handle"] for model in world.status()["models"]]
    assert world.hub.is_sound(world.hub.path / "noise" / "absent")
    assert "noise/absent/1" not in world.hub.log()


def test_queries_which_hold_secrets_are_shown_nowhere(world: World) -> None:
    command = world.hub.machine.hubfs("status", world.hub.path)
    assert all(f"\n{case.handle} " in command.stdout for case in CASES)
    attributes = [
        world.hub.error_of((world.hub.path / BY_NAME[name].handle).parent) for name in ("refused", "nameless")
    ]
    for text in (world.hub.log(), command.stdout, json.dumps(world.status()), *attributes):
        assert SECRET not in text


def test_a_reader_that_tries_again_and_again_does_not_fill_the_log(world: World) -> None:
    case = BY_NAME["denied"]
    before, lines = world.model(case)["trouble"]["count"], world.hub.log().count(f"lookup /{case.handle}")
    for _ in range(40):
        with pytest.raises(PermissionError):
            (world.hub.path / case.handle).stat()
    assert world.model(case)["trouble"]["count"] >= before + 40
    assert world.hub.log().count(f"lookup /{case.handle}") <= max(1, lines)


def test_status_answers_while_the_hub_hangs(world: World) -> None:
    put(world.origin, "/noise/hanging/1", COMPRESSED, ARCHIVE, etag='"1"')
    world.origin.always("/noise/hanging/1", stall(0))
    with ThreadPoolExecutor(16) as readers:
        hanging = [readers.submit((world.hub.path / "noise" / "hanging" / "1").exists) for _ in range(16)]
        assert eventually(lambda: bool([one for one in world.origin.requests if "hanging" in one.path]))
        assert world.status()["mountpoint"] == str(world.hub.path)
        assert not any(future.done() for future in hanging), "the hub did not hang"
        for future in hanging:
            assert isinstance(future.exception(), OSError)


def test_after_recovery_the_error_is_gone_everywhere(world: World) -> None:
    """Runs last: it ends the faults."""
    world.end()

    def reads(case: Case) -> bool:
        try:
            return case.read(world.hub) == case.wanted
        except OSError:
            return False

    for case in CASES:
        assert eventually(lambda case=case: reads(case)), case.name  # type: ignore[misc] # bound now
    for case in CASES:
        model = world.model(case)
        assert (model["error"], "trouble" in model) == (None, False), model
        root: Path = world.hub.path / case.handle
        for path in (root, root.parent):
            assert world.hub.is_sound(path)

"""What the tests share: the order of their layers, real servers, mounts, and the check that nothing is left behind."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from hubfs.blobs.http.client import HttpClient
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.support.examples import how_many, without_constants_of_modules
from tests.support.figures import FULL, Figures
from tests.support.http_clients import http_client
from tests.support.left_behind import left_behind
from tests.support.models import pack, small_model
from tests.support.mount import Machine, Mount, mounted
from tests.support.namespace import leave_the_common_mounts
from tests.support.origin import Origin, running_origin
from tests.support.paths import ROOT
from tests.support.seaweedfs import SeaweedFs, seaweedfs
from tests.support.symlinks import symlinks_that_stay_below

LAYERS = ("mounted", "semantics", "faults", "fuzz", "tensorflow", "transformers")
"""The slow folders, from the quicker to the slower; everything else runs before them."""

SMALL = "noise/small/1"
"""The handle of a model of seeded noise, for tests of bytes."""

BINDINGS = ("session", "libfuse3", "libfuse2")
FORMS = ("compressed", "uncompressed")

MountHub = Callable[..., AbstractContextManager[Mount]]


ALONE = ("tensorflow", "faults/test_soak.py", "faults/test_hostile_hub.py")
"""What takes the whole machine, or measures it: `scripts/test` runs these after the others, and one by one."""


# How long an example takes says how busy the machine is. The examples are the same every time: a change is judged by
# itself. `scripts/test faults` looks for others.
settings.register_profile(
    "hubfs",
    max_examples=how_many(100),
    deadline=None,
    derandomize=not FULL,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hubfs")
if not FULL:
    without_constants_of_modules()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        leave_the_common_mounts()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_libfuses"):
        metafunc.parametrize("binding", BINDINGS, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(ROOT / "tests").as_posix().startswith(ALONE):
            item.add_marker("alone")

    def layer(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return LAYERS.index(folder) + 1 if folder in LAYERS else 0

    items.sort(key=layer)


_figures = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    """Where the fault tests count what they did."""
    return _figures


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What the processes of pytest-xdist counted comes together in the one that prints."""
    _figures.merge(getattr(node, "workeroutput", {}).get("figures", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = _figures.sections()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = _figures.lines()
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
        _figures.save()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every server and daemon of the tests names a path below the temporary directory in its command line."""
    base = tmp_path_factory.getbasetemp()
    yield
    found = left_behind(base)
    assert not found, f"the tests left behind: {found}"


@pytest.fixture(scope="session", autouse=True)
def _temporary_files_stay_below(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What programs put into the temporary directory, where TensorFlow leaves things, goes with the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        temporary = tmp_path_factory.mktemp("temporary")
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr("tempfile.tempdir", str(temporary))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_way_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with symlinks_that_stay_below(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture
def cancellation() -> Iterator[Cancellation]:
    """A mount's, which goes away at the end of the test."""
    cancellation = Cancellation()
    yield cancellation
    cancellation.cancel()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client() -> Iterator[HttpClient]:
    with http_client() as client:
        yield client


@pytest.fixture
def binding(request: pytest.FixtureRequest) -> str:
    """How the mount is served: by the kernel session; for tests marked `both_libfuses` by each libfuse, too."""
    return str(getattr(request, "param", BINDINGS[0]))


@pytest.fixture
def machine(tmp_path: Path, binding: str) -> Machine:
    """A user's machine with nothing on it yet."""
    return Machine(tmp_path / "machine", {"HUBFS_FUSE_LIBRARY": binding})


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of SMALL."""
    return small_model(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Iterator[Origin]:
    """A hub that hosts SMALL in both forms."""
    home = tmp_path_factory.mktemp("origin")
    with running_origin(home, {SMALL: small}, {SMALL: pack(small, home / "small.tar.gz")}) as origin:
        yield origin


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    """A store that speaks the protocol of S3."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(params=FORMS)
def origin(request: pytest.FixtureRequest, servers: Origin) -> Origin:
    """The servers, asked for either hosting form."""
    return servers.asked_for(str(request.param))


@pytest.fixture
def mount(tmp_path: Path, machine: Machine) -> MountHub:
    """`with mount(origin, *options) as mounted_hub:` runs `hubfs mount` on this machine, always at the same place."""

    def mount_hub(origin: Origin, *options: str | Path) -> AbstractContextManager[Mount]:
        user = machine.with_environment(**origin.environment)
        return mounted(user, tmp_path / "hub", origin.url, "--format", origin.form, *options)

    return mount_hub

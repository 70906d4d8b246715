"""The daemon and the inflating process are killed at any instant: no mount is refused, and every byte is right."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crash import CrashLoop, crash_loop
from tests.support.figures import Figures, budget
from tests.support.files import files
from tests.support.models import pack, small_model
from tests.support.mount import Machine
from tests.support.origin import Origin, running_origin

pytestmark = pytest.mark.mounted

ROUNDS = int(budget("crash_rounds", boxed=20, full=200))
DEADLINE_S = budget("crash_s", boxed=38, full=3600)
KILLED = {"daemon", "inflating process"}

IN_ARCHIVES = ("noise/packed/1", "noise/packed/2")
IN_A_BUCKET = ("noise/objects/1", "noise/objects/2")
BYTES_PER_S = 10_000_000
"""Of a connection: the 9 MB of an archive take long enough to be killed in the middle."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Different bytes in each, so that none can be taken for another."""
    home = tmp_path_factory.mktemp("models")
    return {
        handle: small_model(home / handle, seed=seed) for seed, handle in enumerate((*IN_ARCHIVES, *IN_A_BUCKET), 100)
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[Origin]:
    """A hub that hosts two models as archives and two in a bucket."""
    home = tmp_path_factory.mktemp("hub")
    archives = {handle: pack(models[handle], home / f"{number}.gz") for number, handle in enumerate(IN_ARCHIVES)}
    stored = {handle: models[handle] for handle in IN_A_BUCKET}
    with running_origin(home, stored, archives, bytes_per_s=BYTES_PER_S) as servers:
        yield servers


@pytest.mark.timeout(DEADLINE_S + 300)
def test_kills_at_any_instant_cost_no_mount_and_no_byte(
    tmp_path: Path, hub: Origin, models: dict[str, Path], figures: Figures
) -> None:
    started_s = time.monotonic()
    seed = int(budget("crash_seed", boxed=5, full=5))
    loop = CrashLoop(
        Machine(tmp_path / "machine", hub.environment),
        tmp_path / "hub",
        {handle: files(model) for handle, model in models.items()},
        IN_ARCHIVES,
        # Room on disk for half of the models, so that they are evicted, too.
        (
            *("--hub", hub.url, "--log-file", tmp_path / "log", "--inflate-workers", "2"),
            *("--cache-size", "20MiB", "--memory-size", "16MiB"),
        ),
        tmp_path / "cache",
        random.Random(seed),
    )
    with crash_loop(loop, tmp_path / "hub"):
        # A busy machine needs longer than its share for a kill of each.
        while loop.tally.rounds < ROUNDS and (
            time.monotonic() - started_s < DEADLINE_S or not loop.tally.kills.keys() >= KILLED
        ):
            loop.round()
        loop.verify()
    found = loop.tally
    figures.add(
        "crashes",
        rounds=found.rounds,
        wrong_bytes=len(found.wrong),
        refused_mounts=len(found.refused),
        left_processes=len(found.left),
        short_reads=found.short,
        hangs=len(found.hanging),
        **{f"kills_of_the_{what.replace(' ', '_')}": count for what, count in sorted(found.kills.items())},
    )
    assert not found.troubles, "\n".join(found.troubles)
    assert found.kills.keys() >= KILLED, "nothing was killed"

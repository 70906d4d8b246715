"""The scenarios of Hugging Face, with a megabyte in the place of 432."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts._bench import huggingface
from scripts._bench.hosts import HUGGINGFACE, HUGGINGFACE_CDN, Hosts
from scripts._bench.huggingface import Hub
from scripts._bench.scenarios import BARE, HF_FILE_SYSTEM, HUBFS, LOCAL, SNAPSHOT
from scripts._bench.shaping import UNSHAPED, shaping
from scripts._bench.world import World, WrongBytes

pytestmark = pytest.mark.mounted

SIZE_BYTES = 1_000_000


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    unused: Any = None
    with (
        shaping([HUGGINGFACE, HUGGINGFACE_CDN]) as link,
        huggingface.hub(World(Hosts(link, unused), tmp_path, [], ""), SIZE_BYTES) as served,
    ):
        yield served


def test_everybody_loads_the_same_tensors_over_the_link(served: Hub) -> None:
    samples = {name: series.measure() for name, series in huggingface.loads(served, UNSHAPED).items()}
    assert samples.keys() == {HUBFS, SNAPSHOT, HF_FILE_SYSTEM, LOCAL, BARE}
    weights = sum((served.directory / shard).stat().st_size for shard in served.cdn_paths)
    for name, sample in samples.items():
        sent_bytes = sample.sent_bytes or 0
        assert sent_bytes == 0 if name == LOCAL else weights <= sent_bytes < weights + 800_000, name
    assert samples[BARE].requests == huggingface.CONNECTIONS


def test_threads_load_what_one_loads(served: Hub) -> None:
    for series in huggingface.faults(served).values():
        assert series.measure().sent_bytes


def test_other_tensors_are_no_figure(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "_expected", lambda _: "00000000")
    with pytest.raises(WrongBytes):
        huggingface.loaded(served, huggingface.local(served), UNSHAPED)

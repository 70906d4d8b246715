"""The scenarios of ranges, with a megabyte in the place of 432."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts._bench import huggingface, ranges
from scripts._bench.hosts import BUCKET, HUGGINGFACE, HUGGINGFACE_CDN, Hosts
from scripts._bench.huggingface import Hub
from scripts._bench.models import tiny
from scripts._bench.scenarios import GCSFS, HF_FILE_SYSTEM, HUBFS
from scripts._bench.shaping import UNSHAPED, shaping
from scripts._bench.world import World, WrongBytes
from tests.support.gcs_server import gcs_server

UNUSED: Any = None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    with (
        shaping([HUGGINGFACE, HUGGINGFACE_CDN]) as link,
        huggingface.hub(World(Hosts(link, UNUSED), tmp_path, [], ""), 1_000_000) as served,
    ):
        yield served


def test_everybody_reads_the_same_ranges_of_a_repository(served: Hub) -> None:
    samples = {name: series.measure() for name, series in ranges.of_huggingface(served, UNSHAPED).items()}
    assert samples.keys() == {HUBFS, HF_FILE_SYSTEM}
    assert all((sample.sent_bytes or 0) > 500_000 for sample in samples.values())


def test_everybody_reads_the_same_ranges_of_a_bucket(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny")
    (model.directory / "variables/variables.data-00000-of-00001").write_bytes(random.Random(1).randbytes(1_000_000))
    with gcs_server() as store, shaping(["store"]) as link:
        store.create_bucket(BUCKET)
        for name in model.files:
            store.upload(BUCKET, f"{model.handle}/{name}", (model.directory / name).read_bytes())
        link.connect("store", int(store.url.rpartition(":")[2]))
        (tmp_path / "scratch").mkdir()
        world = World(Hosts(link, UNUSED), tmp_path / "scratch", [model], "")
        samples = {name: series.measure() for name, series in ranges.of_bucket(world, model, UNSHAPED).items()}
    assert samples.keys() == {HUBFS, GCSFS}
    assert all((sample.sent_bytes or 0) > 0 for sample in samples.values())


def test_other_bytes_are_no_figure(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_bytes_at", lambda *_: bytes(ranges.SIZE_BYTES))
    with pytest.raises(WrongBytes):
        ranges.of_huggingface(served, UNSHAPED)[HUBFS].measure()


def test_ranges_lie_in_their_files_and_apart(served: Hub) -> None:
    files = [served.directory / shard for shard in sorted(served.cdn_paths)]
    spread = ranges.spread(files)
    assert len({*spread}) == ranges.COUNT
    assert {file for file, _ in spread} == {*files}
    assert all(0 <= start <= file.stat().st_size - ranges.SIZE_BYTES for file, start in spread)

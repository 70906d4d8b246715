"""A thousand wrong bits and cut bodies: what is whole is right, or an error; and what huggingface_hub makes of them."""

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, blocks_of
from hubfs.cache.disk.layout import CacheLayout
from hubfs.cache.disk.store import DiskStore
from hubfs.cache.disk.whole import WholeFiles
from hubfs.errors import Damaged, HubfsError
from hubfs.model_id import ModelId
from hubfs.sources.source import Source, key_of
from tests.support.figures import Figures
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_client import calls
from tests.support.kaggle_replies import Fault, Reply
from tests.support.kits import made_hub, workshop

NAME = "org/wrong"
FAULTS = 1000
PATIENCE_S = 3600.0
_AT_ONCE = 250
"""Snapshots that one process of the client takes: it has a bound, and a machine may stand still."""


@dataclass(frozen=True)
class Wrong:
    """A file, alone in its commit, and what is sent wrong of it: the bit at `flips`, or all from `cut` on."""

    commit: str
    path: str
    content: bytes
    flips: int | None
    cut: float

    def cut_off(self, reply: Reply) -> Reply:
        return replace(reply, body=reply.body[: int(len(reply.body) * self.cut)])


def _wrongs(stand_in: HuggingFaceStandIn) -> Iterator[Wrong]:
    """Three bits in four; one file of Git among four, which is small; one file of several blocks in fifty."""
    noise = random.Random(15)
    for number in range(FAULTS):
        size_bytes = noise.randrange(1 << 20, 3 << 20) if number % 50 == 2 else noise.randrange(1, 40_000)
        content = noise.randbytes(size_bytes)
        path = "config.json" if number % 4 == 1 else "model.safetensors"
        commit = stand_in.put(NAME, {path: content})
        flips = noise.randrange(size_bytes) if number % 4 else None
        if flips is not None:
            stand_in.rot(NAME, commit, path, flips)
        yield Wrong(commit, path, content, flips, noise.random())


def _read(source: Source, path: str, noise: random.Random) -> bytes | HubfsError:
    """All blocks of a file, in any order: the bytes, or the error."""
    try:
        entry = source.find(path)
        blob = source.open(entry)
        indexes = [*blocks_of(0, entry.size_bytes, entry.size_bytes)]
        noise.shuffle(indexes)
        read = {index: blob.read_at(index * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES) for index in indexes}
        return b"".join(read[index] for index in sorted(read))
    except HubfsError as error:
        return error


@pytest.mark.slow
def test_of_a_thousand_wrong_bits_and_cut_bodies_none_makes_a_wrong_whole_file(
    tmp_path: Path, figures: Figures
) -> None:
    noise = random.Random(16)
    seen: Counter[str] = Counter()
    with HuggingFaceStandIn() as stand_in, workshop(tmp_path / "cache") as tools:
        whole = WholeFiles(DiskStore(CacheLayout(tmp_path / "cache")), tools.cancellation)
        with made_hub("hf:", tools, {"hf": stand_in.url}) as hub:
            for wrong in [*_wrongs(stand_in)]:
                source = hub.open(ModelId(NAME, wrong.commit), tools.kit)
                key = key_of(source, source.find(wrong.path))
                if wrong.flips is None:
                    stand_in.script("cdn", wrong.cut_off)
                got = _read(source, wrong.path, noise)
                is_right = got == wrong.content
                seen["right" if is_right else "wrong" if isinstance(got, bytes) else "errors"] += 1
                assert isinstance(got, Damaged) if wrong.flips is not None else is_right, wrong
                fd = whole.opened(key, len(wrong.content), PATIENCE_S)
                assert (fd is not None) == is_right, "only what is right is ever passed through"
                if fd is not None:
                    with os.fdopen(fd, "rb") as kept:
                        assert kept.read() == wrong.content
                else:
                    assert not tools.cache.cached_bytes(key.model), "nothing wrong is kept"
    figures.note("1,000 wrong bits and cut bodies, hubfs", **seen)
    assert seen == {"errors": FAULTS * 3 // 4, "right": FAULTS // 4}, "a body that was cut is asked for again"


@pytest.mark.slow
def test_of_the_same_wrong_bits_the_client_takes_each_one(tmp_path: Path, figures: Figures) -> None:
    with HuggingFaceStandIn() as stand_in:
        wrongs = [*_wrongs(stand_in)]
        flipped = [wrong for wrong in wrongs if wrong.flips is not None]
        seen = _snapshots(stand_in, flipped, tmp_path)
        cut = [wrong for wrong in wrongs if wrong.flips is None]
        for_ever: Sequence[Fault] = [wrong.cut_off for wrong in cut] * 20
        stand_in.script("cdn", *for_ever)
        seen += _snapshots(stand_in, cut, tmp_path)
    figures.note("1,000 wrong bits and cut bodies, snapshot_download", **seen)
    assert seen == {"wrong": FAULTS * 3 // 4, "errors": FAULTS // 4}


def _snapshots(stand_in: HuggingFaceStandIn, wrongs: Sequence[Wrong], home: Path) -> Counter[str]:
    """What `snapshot_download` says of each of them."""
    seen: Counter[str] = Counter()
    for start in range(0, len(wrongs), _AT_ONCE):
        some = wrongs[start : start + _AT_ONCE]
        answers = calls(stand_in, home, *(("snapshot", NAME, {"revision": wrong.commit}) for wrong in some))
        for wrong, answer in zip(some, answers, strict=True):
            right = [wrong.commit, {wrong.path: hashlib.sha256(wrong.content).hexdigest()}]
            seen["errors" if isinstance(answer, dict) else "right" if answer == right else "wrong"] += 1
    return seen

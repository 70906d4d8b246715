"""A thousand wrong bits and cut bodies: what is whole is right, or it is an error."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.errors import Damaged, HubfsError
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.model_id import ModelId
from hubfs.sources.source import key_of
from tests.support.http_clients import QUICK, http_client
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle_replies import Fault, Reply
from tests.support.kits import Workshop, workshop

MODEL = ModelId("BAAI/bge-m3", "5a" * 20)
ROUNDS = 1000


def _cut(at: float) -> Fault:
    def cut(reply: Reply) -> Reply:
        return replace(reply, body=reply.body[: int(len(reply.body) * at)])

    return cut


def _read(hub: Hub, tools: Workshop, path: str) -> bytes | HubfsError:
    """The file, as a reader with an empty cache gets it: the bytes, or the error."""
    source = hub.open(MODEL, tools.kit)
    entry = source.find(path)
    tools.cache.drop(key_of(source, entry).model)
    try:
        return source.open(entry).read_at(0, entry.size_bytes)
    except HubfsError as error:
        return error


@pytest.mark.slow
def test_of_a_thousand_wrong_bits_and_cut_bodies_none_makes_a_wrong_whole_file(tmp_path: Path) -> None:
    noise = random.Random(15)
    right: Mapping[str, bytes] = {
        "config.json": noise.randbytes(999),
        "small.safetensors": noise.randbytes(40_000),
        "large.safetensors": noise.randbytes((1 << 20) + 4321),
    }
    seen: Counter[str] = Counter()
    with HuggingFaceStandIn() as stand_in, workshop(tmp_path / "cache") as tools:
        stand_in.put(MODEL.name, right, commit=MODEL.version)
        gcs = GcsClient(GcsSettings(endpoint_url="http://127.0.0.1:9", retry=QUICK), tools.cancellation)
        with http_client(tools.cancellation) as http:
            hub = make_hub("hf:", Means(http, gcs, endpoints={"hf": stand_in.url}))
            for number in range(ROUNDS):
                path = noise.choice(["config.json", "small.safetensors", "small.safetensors", "large.safetensors"])
                flips = bool(number % 4)
                if flips:
                    stand_in.rot(MODEL.name, MODEL.version, path, noise.randrange(len(right[path])))
                else:
                    stand_in.script("resolve" if path == "config.json" else "cdn", _cut(noise.random()))
                got = _read(hub, tools, path)
                seen[type(got).__name__] += 1
                assert isinstance(got, Damaged) if flips else got == right[path] or isinstance(got, HubfsError), number
                stand_in.mend()
            assert {path: _read(hub, tools, path) for path in right} == right
        gcs.close()
    assert seen["Damaged"] == ROUNDS * 3 // 4

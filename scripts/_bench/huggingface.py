"""Weights of the Hugging Face Hub in shards of safetensors: a cold load by hubfs, and by what people use instead."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from safetensors.numpy import save_file

from scripts._bench.hosts import HUGGINGFACE, HUGGINGFACE_CDN
from scripts._bench.measure import Failed, downloader, program, safetensors_loader, seconds
from scripts._bench.peers import HUGGINGFACE_HUB, Ready
from scripts._bench.programs.load_safetensors import INDEX
from scripts._bench.programs.read import read_files
from scripts._bench.report import Medians, Sample, Target
from scripts._bench.scenarios import (
    BARE,
    CURL,
    FAR,
    GIGABIT,
    HF_FILE_SYSTEM,
    HUBFS,
    LOCAL,
    SNAPSHOT,
    Scenario,
    Series,
    bound,
    ratio,
)
from scripts._bench.shaping import UNSHAPED, Link
from scripts._bench.warm import STRETCHED
from scripts._bench.world import World, WrongBytes
from tests.support import models
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_repo import Made
from tests.support.mount import Machine, mounted
from tests.support.nginx import nginx_files
from tests.support.real_models import MINILM

NAME = "bench/sharded"
SHARDS = 4
LARGE_BYTES, QUICK_BYTES = 432_000_000, 48_000_000
CONNECTIONS = 16
SMALL = ("config.json", "tokenizer_config.json", "tokenizer.json")
"""What a program reads before the weights."""

IN_ORDER, FOUR, EIGHT = "hubfs, 1 thread", "hubfs, 4 threads", "hubfs, 8 threads"

HfPeer = Callable[[Path], AbstractContextManager[Ready]]
"""Called with a fresh directory."""


def sharded(size_bytes: int) -> Path:
    """A repository of seeded noise in four shards, with the tokenizer of MiniLM. Made once."""

    def make(target: Path) -> None:
        target.mkdir()
        for name in SMALL:
            (target / name).write_bytes((MINILM / name).read_bytes())
        noise, layers, weight_map = np.random.default_rng(15), 12, {}
        one_bytes = size_bytes // SHARDS // layers
        for number in range(SHARDS):
            shard = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
            tensors = {}
            for layer in range(number * layers, (number + 1) * layers):
                rows = one_bytes // 3 // 2048
                for part in ("attention.weight", "mlp.down.weight", "mlp.up.weight"):
                    name = f"model.layers.{layer}.{part}"
                    tensors[name] = noise.integers(0, 1 << 14, (rows, 1024), np.uint16).view(np.float16)
                    weight_map[name] = shard
            save_file(tensors, target / shard, {"format": "pt"})
        (target / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    return models.kept(f"bench-safetensors-{size_bytes // 1_000_000}", make)


@dataclass(frozen=True)
class Hub:
    """The stand-in for the hub, with nginx in the place of its CDN. `cdn_paths` has the shards' there."""

    world: World
    directory: Path
    cdn_paths: Mapping[str, str]

    @property
    def url(self) -> str:
        """The hub, through the link."""
        return self.world.hosts.link.url(HUGGINGFACE)

    def cdn_url(self, shard: str) -> str:
        """A shard at the CDN, through the link."""
        return self.world.hosts.link.url(HUGGINGFACE_CDN) + self.cdn_paths[shard]


@contextlib.contextmanager
def hub(world: World, size_bytes: int) -> Iterator[Hub]:
    """Serves `sharded`."""
    directory, link = sharded(size_bytes), world.hosts.link
    files = {path.name: path for path in sorted(directory.iterdir())}
    read_files(str(directory), [])  # into the page cache
    with world.fresh(UNSHAPED) as place, HuggingFaceStandIn() as stand_in:
        root, paths = place / "root", {}
        shards = {}
        for name, path in files.items():
            if name.endswith(".safetensors"):
                said = sha256(path.read_bytes()).hexdigest()
                paths[name] = f"/xet-bridge-us/{said}"
                shards[name] = Made(path.stat().st_size, _never, said)
                (root / paths[name].lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
                (root / paths[name].lstrip("/")).symlink_to(path)
        small = {name: path.read_bytes() for name, path in files.items() if name not in shards}
        stand_in.links = link.url(HUGGINGFACE)
        stand_in.put(NAME, {**small, **shards}, lfs=shards)
        link.connect(HUGGINGFACE, urlsplit(stand_in.url).port or 0)
        stand_in.cdn.url = link.url(HUGGINGFACE_CDN)
        with nginx_files(place / "nginx", root) as url:
            link.connect(HUGGINGFACE_CDN, urlsplit(url).port or 0)
            yield Hub(world, directory, paths)


def _never(index: int) -> bytes:
    raise AssertionError(f"MiB {index} of a shard was asked of the stand-in: nginx has the shards")


def mount_of(served: Hub) -> HfPeer:
    """`hubfs mount --hub hf:`, with an empty cache."""

    @contextlib.contextmanager
    def peer(work: Path) -> Iterator[Ready]:
        machine = Machine(work / "machine", {"HF_ENDPOINT": served.url})
        with mounted(machine, work / "hub", "hf:", "--cache-dir", work / "cache") as mount:
            yield Ready(lambda: str(mount.path / NAME), pids=mount.pids)

    return peer


def client_environment(served: Hub) -> dict[str, str]:
    """Of a program that imports huggingface_hub."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {"PYTHONPATH": str(HUGGINGFACE_HUB), "HF_ENDPOINT": served.url, **quiet}


def _client(served: Hub, work: Path) -> dict[str, str]:
    return {**client_environment(served), "HF_HOME": str(work / "hf")}


def snapshot(served: Hub) -> HfPeer:
    """`snapshot_download` into an empty cache: what it returns is loaded. It was imported before."""

    @contextlib.contextmanager
    def peer(work: Path) -> Iterator[Ready]:
        environment = _client(served, work)
        command = downloader("huggingface_hub")
        with program(work, command, environment=environment, name="snapshot_download") as started:
            started.wait_until_ready()
            yield Ready(lambda: str(started.run(handle=NAME)["path"]))

    return peer


def hf_file_system(served: Hub) -> HfPeer:
    """Shard by shard, whole, into memory: safetensors maps no file of fsspec."""

    @contextlib.contextmanager
    def peer(work: Path) -> Iterator[Ready]:
        yield Ready(lambda: f"hf://{NAME}", environment=_client(served, work))

    return peer


def local(served: Hub) -> HfPeer:
    """The files themselves: the limit."""

    @contextlib.contextmanager
    def peer(_work: Path) -> Iterator[Ready]:
        yield Ready(lambda: str(served.directory))

    return peer


def loaded(served: Hub, peer: HfPeer, link: Link, *, threads: int = 0) -> Sample:
    """A cold load, from the order to the last tensor. Raises `WrongBytes`."""
    world = served.world
    with (
        world.fresh(link) as work,
        peer(work) as ready,
        program(work, safetensors_loader(), environment=ready.environment, name="loader") as started,
    ):
        started.wait_until_ready()
        before_s = world.begin(ready)
        paths: list[str] = []
        delivered_s = seconds(lambda: paths.append(ready.deliver()))
        said = started.run(path=paths[0], threads=threads)
        sample = world.sample(
            ready, delivered_s + said["took_s"], before_s, delivered_s=delivered_s, took_s=said["took_s"]
        )
    if said["digest"] != _expected(served):
        raise WrongBytes(f"{NAME}: the tensors that were loaded are not those of the model")
    return sample


def _expected(served: Hub) -> str:
    with served.world.fresh(UNSHAPED) as work, program(work, safetensors_loader()) as started:
        started.wait_until_ready()
        return str(started.run(path=str(served.directory))["digest"])


def bare_transfer(served: Hub, link: Link) -> Sample:
    """The shards from the CDN by as many ranges at once as hubfs has connections, and nothing done with them."""
    parts = []
    for shard in served.cdn_paths:
        size_bytes = (served.directory / shard).stat().st_size
        cuts = [size_bytes * at // (CONNECTIONS // SHARDS) for at in range(CONNECTIONS // SHARDS + 1)]
        for first, end in pairwise(cuts):
            parts.append(f'url = "{served.cdn_url(shard)}"\nrange = "{first}-{end - 1}"\noutput = "/dev/null"\n')
    each = "silent\nshow-error\nfail\n"
    orders = "parallel\nparallel-immediate\nparallel-max = 16\n" + "next\n".join(each + part for part in parts)

    def transfer() -> None:
        done = subprocess.run(["curl", "-K", "-"], input=orders, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"curl ended with status {done.returncode}: {done.stderr.strip()[-300:]}")

    with served.world.fresh(link):
        nothing = Ready(str)
        before_s = served.world.begin(nothing)
        return served.world.sample(nothing, seconds(transfer), before_s)


def small_files(served: Hub) -> Sample:
    """How many latencies pass until a fresh mount has given config.json and the tokenizer."""
    world = served.world
    with world.fresh(STRETCHED) as work, mount_of(served)(work) as ready:
        before_s = world.begin(ready)
        read: list[tuple[int, str]] = []
        took_s = seconds(lambda: read.append(read_files(ready.deliver(), list(SMALL))))
        if read[0] != read_files(str(served.directory), list(SMALL)):
            raise WrongBytes(f"{NAME}: the small files are others")
        return world.sample(ready, took_s // STRETCHED.latency_s, before_s, took_s=took_s)


def loads(served: Hub, link: Link) -> Mapping[str, Series]:
    """Who loads, and the bare transfer."""
    taking_part: dict[str, tuple[str, HfPeer]] = {
        HUBFS: (HUBFS, mount_of(served)),
        SNAPSHOT: (SNAPSHOT, snapshot(served)),
        HF_FILE_SYSTEM: (HF_FILE_SYSTEM, hf_file_system(served)),
        LOCAL: (LOCAL, local(served)),
    }
    series = {
        name: Series(who, lambda peer=peer: loaded(served, peer, link))  # type: ignore[misc]
        for name, (who, peer) in taking_part.items()
    }
    return {**series, BARE: Series(CURL, lambda: bare_transfer(served, link))}


def faults(served: Hub) -> Mapping[str, Series]:
    """All shards by one thread in order, and by several at once."""
    return {
        name: Series(HUBFS, lambda threads=threads: loaded(served, mount_of(served), FAR, threads=threads))  # type: ignore[misc]
        for name, threads in ((IN_ORDER, 1), (FOUR, 4), (EIGHT, 8))
    }


def huggingface_scenarios(size_bytes: int) -> Sequence[Scenario]:
    """Of shards with so many bytes together."""

    def entering(
        series: Callable[[Hub], Mapping[str, Series]],
    ) -> Callable[[World], AbstractContextManager[Mapping[str, Series]]]:
        @contextlib.contextmanager
        def enter(world: World) -> Iterator[Mapping[str, Series]]:
            with hub(world, size_bytes) as served:
                yield series(served)

        return enter

    of_sum = Target("at most 1.10 of (bare transfer + local load)", _of_transfer_and_load, 1.10)
    size = f"{size_bytes // 1_000_000} MB in {SHARDS} shards"
    return [
        Scenario(
            "huggingface-load",
            f"cold, Hugging Face, 20 ms and 400 Mbit/s per connection: load by safetensors ({size})",
            "s",
            entering(lambda served: loads(served, FAR)),
            [ratio("at most 0.60 of snapshot_download and a load", HUBFS, SNAPSHOT, 0.60), of_sum],
            SNAPSHOT,
        ),
        Scenario(
            "huggingface-load-gigabit",
            f"cold, Hugging Face, 20 ms and 1 Gbit/s: load by safetensors ({size})",
            "s",
            entering(lambda served: loads(served, GIGABIT)),
            [of_sum],
            SNAPSHOT,
        ),
        Scenario(
            "huggingface-faults",
            f"cold, Hugging Face, 20 ms and 400 Mbit/s per connection: threads that fault over all shards ({size})",
            "s",
            entering(faults),
            [
                ratio("4 threads: at most 1.00 of one in order", FOUR, IN_ORDER, 1.0),
                ratio("8 threads: at most 1.00 of one in order", EIGHT, IN_ORDER, 1.0),
            ],
            IN_ORDER,
        ),
        Scenario(
            "huggingface-small-files",
            "cold, Hugging Face: config.json and the tokenizer are read",
            "round trips",
            entering(lambda served: {HUBFS: Series(HUBFS, lambda: small_files(served))}),
            [bound("at most 5 round trips", HUBFS, 5)],
            "",
        ),
    ]


def _of_transfer_and_load(medians: Medians) -> float:
    return medians[HUBFS] / (medians[BARE] + medians[LOCAL])

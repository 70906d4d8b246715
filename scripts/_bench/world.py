"""Where runs take place: the servers, the models, and a fresh directory for each run."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts._bench.hosts import Hosts
from scripts._bench.measure import Program, loader, program, reader
from scripts._bench.models import Model
from scripts._bench.peers import Peer, Ready
from scripts._bench.programs.read import read_files
from scripts._bench.report import Sample
from scripts._bench.shaping import Link

_SETTLED_S = 0.5
_SETTLE_TIMEOUT_S = 60


class WrongBytes(Exception):
    """A peer gave other bytes than the model has: no figure of it counts."""


@dataclass(frozen=True)
class World:
    """`models` are all, the first is what most scenarios load; `options`, the help text of `hubfs mount`."""

    hosts: Hosts
    scratch: Path
    models: Sequence[Model]
    options: str
    _expected: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    @property
    def large(self) -> Model:
        """What most scenarios load."""
        return self.models[0]

    def warm_up(self) -> None:
        """Puts what servers and the local directory read into the page cache: nobody is to be the first."""
        for model in self.models:
            read_files(str(model.directory), [])
            read_files(str(model.archive.parent), [model.archive.name])

    @contextlib.contextmanager
    def fresh(self, link: Link) -> Iterator[Path]:
        """An empty directory, on a quiet disk; the link is shaped for what is connected from now on."""
        os.sync()
        self.hosts.link.shape(link)
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="run-") as work:
            yield Path(work)

    def read(self, peer: Peer, model: Model, link: Link, *, listing: bool = False) -> Sample:
        """Every file, in a fresh directory; `listing`: found by listing, as `cp -r` does it."""
        with self.fresh(link) as work, peer(self.hosts, model, work) as ready:
            return self.timed_read(ready, model, work, names=[] if listing else model.files)

    def load(self, peer: Peer, model: Model, link: Link) -> Sample:
        """By TensorFlow, in a fresh directory."""
        with self.fresh(link) as work, peer(self.hosts, model, work) as ready:
            return self.timed_load(ready, model, work)

    def timed_read(self, ready: Ready, model: Model, work: Path, *, names: list[str], mapped: bool = False) -> Sample:
        """Reads `names`, or what a listing finds, and compares with the model; `mapped`: by mmap."""
        command = loader(ready.how) if ready.how == "resolve" else reader(mapped=mapped)
        with program(work, command, environment=ready.environment, name="reader") as started:
            return self._timed(ready, started, model, names)

    def timed_load(self, ready: Ready, model: Model, work: Path) -> Sample:
        """Loads, and compares with the model."""
        with program(work, loader(ready.how), environment=ready.environment, name="loader") as started:
            return self._timed(ready, started, model, None)

    def settled_bytes(self) -> int:
        """What the origin sent since the last reset, once it has stopped sending."""
        deadline_s = time.monotonic() + _SETTLE_TIMEOUT_S
        before, now = -1, self.hosts.link.counts().sent_bytes
        while before != now and time.monotonic() < deadline_s:
            time.sleep(_SETTLED_S)
            before, now = now, self.hosts.link.counts().sent_bytes
        return now

    def check_read(self, model: Model, names: list[str], said: Mapping[str, Any]) -> None:
        """Raises `WrongBytes` unless a reader of `names` saw what the model holds."""
        key = (model.name, "\n".join(names))
        if key not in self._expected:
            self._expected[key] = read_files(str(model.directory), names)
        wanted = self._expected[key]
        if (said["bytes"], said["digest"]) != wanted:
            raise WrongBytes(f"{model.name}: read {said['bytes']} bytes ({said['digest']}), but it has {wanted}")

    def check_load(self, model: Model, said: Mapping[str, Any]) -> None:
        """Raises `WrongBytes` unless a loader found the variables that the model has."""
        key = (model.name, "variables")
        if key not in self._expected:
            with tempfile.TemporaryDirectory(dir=self.scratch) as work, program(Path(work), loader()) as started:
                started.wait_until_ready()
                self._expected[key] = (0, started.run(path=str(model.directory))["digest"])
        if said["digest"] != self._expected[key][1]:
            raise WrongBytes(f"{model.name}: the variables that were loaded are not those of the model")

    def _timed(self, ready: Ready, started: Program, model: Model, names: list[str] | None) -> Sample:
        started.wait_until_ready()
        before_s = self.begin(ready)
        started_s = time.perf_counter()
        path = ready.deliver()
        delivered_s = time.perf_counter() - started_s
        said = started.run(path=path, names=names)
        parts = {"delivered_s": delivered_s, "took_s": said["took_s"]}
        sample = self.sample(ready, delivered_s + said["took_s"], before_s, **parts)
        if ready.how == "resolve":
            size_bytes, digest = read_files(said["path"], model.files)
            self.check_read(model, model.files, {"bytes": size_bytes, "digest": digest})
        elif names is None:
            self.check_load(model, said)
        else:
            self.check_read(model, names, said)
        return sample

    def begin(self, ready: Ready) -> float:
        """Counts from now on; returns the CPU seconds that the daemon took to start, which `sample` leaves out."""
        self.hosts.link.reset()
        return ready.usage().cpu_s

    def sample(self, ready: Ready, value: float, before_s: float, **more: Any) -> Sample:
        """`value`, and what it has cost since `begin` gave `before_s`."""
        counts = self.hosts.link.counts()
        if not ready.pids():
            return Sample(value, counts.sent_bytes, counts.requests, more=more)
        used = ready.usage()
        each = {"peak_rss_of_each_bytes": used.peak_rss_of_each_bytes}
        cpu_s = used.cpu_s - before_s
        return Sample(value, counts.sent_bytes, counts.requests, cpu_s, used.peak_rss_bytes, {**each, **more})

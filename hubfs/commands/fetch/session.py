"""An engine without a mount, for a command that reads whole models and ends."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from hubfs.commands.fetch.progress import Meter
from hubfs.commands.fetch.telling import Teller
from hubfs.engine import Engine
from hubfs.library.handles import Asked
from hubfs.library.model import Model, model_at, source_at
from hubfs.settings.config import Config
from hubfs.sources.source import Source

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """An `engine`, one thread that works, and `tell`, which says meanwhile how far it is."""

    engine: Engine
    tell: Teller
    pool: ThreadPoolExecutor

    def model(self, asked: Asked) -> Model:
        """The model, once everything in it is known. Raises what kept it from being found."""
        return self.whole(asked, *self.ask(asked.text, lambda: source_at(self.engine.hubs[asked.hub], asked.path)))

    def ask(self, what: str, question: Callable[[], T]) -> T:
        """The answer to a question. Raises as `question`."""
        return self.tell.during(what, self.pool.submit(question), lambda: None)

    def whole(self, asked: Asked, path: str, source: Source) -> Model:
        """The model of `source`, which is at `path`, once everything in it is known. Raises what kept it from that."""
        tree = self.engine.hubs[asked.hub]
        # Of an archive, everything comes by before all of it is known.
        coming = Meter(source.to_come_bytes or 0, time.monotonic())

        def come() -> Meter:
            left_bytes = source.to_come_bytes or 0
            coming.total_bytes = max(coming.total_bytes, left_bytes)
            coming.reached(coming.total_bytes - left_bytes, time.monotonic())
            return coming

        return self.tell.during(f"{asked.text}: reading", self.pool.submit(model_at, tree, path), come)

    def work(self, what: str, work: Callable[[], T], done_bytes: Callable[[], int], total_bytes: int) -> T:
        """Does `work`, of which `done_bytes` of `total_bytes` are done. Raises as `work`."""
        meter = Meter(total_bytes, time.monotonic())

        def reached() -> Meter:
            meter.reached(done_bytes(), time.monotonic())
            return meter

        return self.tell.during(what, self.pool.submit(work), reached)


@contextmanager
def session(config: Config, tell: Teller) -> Iterator[Session]:
    """A session whose engine, and all that waits for it, ends with the block. Raises `InvalidConfig`."""
    engine = Engine(config)
    pool = ThreadPoolExecutor(1, thread_name_prefix="work")
    try:
        yield Session(engine, tell, pool)
    finally:
        tell.end()
        engine.close()  # which ends what the pool would be waited for
        pool.shutdown()

"""Fetches one model after the other, by an engine without a mount."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hubfs.commands.fetch.copying import Copying
from hubfs.commands.fetch.handles import Asked, asked_for
from hubfs.commands.fetch.model import model_at, source_at
from hubfs.commands.fetch.progress import Meter
from hubfs.commands.fetch.telling import Teller
from hubfs.engine import Engine
from hubfs.settings.config import Config


def fetch_all(config: Config, handles: Sequence[str], to: Path, tell: Teller) -> None:
    """Makes `to` the root of the model, or has each of several models in it by its path at its hub.

    Raises `InvalidHandle`, `InvalidConfig`, and what kept a model from being read.
    """
    config, asked = asked_for(config, handles)
    engine = Engine(config)
    pool = ThreadPoolExecutor(1, thread_name_prefix="fetch-all")  # its thread works while this one tells of it
    try:
        for one in asked:
            _fetch(engine, one, pool, tell, to=to, below=len(asked) > 1)
    finally:
        tell.end()
        engine.close()  # which ends what the pool would be waited for
        pool.shutdown()


def _fetch(engine: Engine, asked: Asked, pool: ThreadPoolExecutor, tell: Teller, *, to: Path, below: bool) -> None:
    began_s, tree = time.monotonic(), engine.hubs[asked.hub]
    path, source = tell.during(asked.text, pool.submit(source_at, tree, asked.path), lambda: None)
    # Of an archive, everything comes by before all of it is known.
    coming = Meter(source.to_come_bytes or 0, time.monotonic())

    def come() -> Meter:
        left_bytes = source.to_come_bytes or 0
        coming.total_bytes = max(coming.total_bytes, left_bytes)
        coming.reached(coming.total_bytes - left_bytes, time.monotonic())
        return coming

    model = tell.during(f"{asked.text}: reading", pool.submit(model_at, tree, path), come)
    directory = to / path.strip("/") if below else to
    copying = Copying(model, directory, engine.cancellation)
    made = copying.plan()
    if not made.done:
        meter = Meter(made.size_bytes, time.monotonic())

        def copied() -> Meter:
            meter.reached(copying.copied_bytes, time.monotonic())
            return meter

        tell.during(asked.text, pool.submit(copying.carry_out, made), copied)
    tell.done(asked.text, directory, model.size_bytes, made.size_bytes, time.monotonic() - began_s)

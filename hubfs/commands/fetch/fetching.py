"""Fetches one model after the other, by an engine without a mount."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hubfs.commands.fetch.copying import Copying
from hubfs.commands.fetch.session import session
from hubfs.commands.fetch.telling import Teller
from hubfs.library.handles import asked_for
from hubfs.settings.config import Config


def fetch_all(config: Config, handles: Sequence[str], to: Path, tell: Teller) -> None:
    """Makes `to` the root of the model, or has each of several models in it by its path at its hub.

    Raises `InvalidHandle`, `InvalidConfig`, and what kept a model from being read.
    """
    config, asked = asked_for(config, handles)
    with session(config, tell) as running:
        for one in asked:
            began_s = time.monotonic()
            model = running.model(one)
            directory = to / model.path.strip("/") if len(asked) > 1 else to
            copying = Copying(model, directory, running.engine.cancellation)
            made = copying.plan()
            if not made.done:
                work, done_bytes = partial(copying.carry_out, made), partial(getattr, copying, "copied_bytes")
                running.work(one.text, work, done_bytes, made.size_bytes)
            tell.done(one.text, str(directory), model.size_bytes, made.size_bytes, time.monotonic() - began_s)

"""A mount: the engine's hubs below one root, and the files in `/.hubfs` that tell of them."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hubfs import __version__
from hubfs.engine import Engine
from hubfs.fuse.counts import OperationCounts
from hubfs.hubs.names import View
from hubfs.metrics.exposition import Exposition
from hubfs.mounts import table as mount_table
from hubfs.settings.config import Config
from hubfs.status import RecentProblems, Status
from hubfs.tree.control_files import ControlFiles
from hubfs.tree.hub_tree import HubTree
from hubfs.tree.virtual_tree import VirtualTree
from hubfs.waiting import Cancellation

_TOLD_OF = 20
"""So many models are told of where the daemon says what it is at."""


@dataclass(frozen=True)
class Mount:
    """A name space that is ready to be served. `close` ends every wait and transfer.

    `operations` counts what the kernel asks, for the status; `metrics` has its numbers for Prometheus.
    `at_work` says by lines, by a title, what is under way.
    """

    tree: VirtualTree
    operations: OperationCounts
    metrics: Exposition
    at_work: Mapping[str, Callable[[], Iterable[str]]]
    cancellation: Cancellation
    close: Callable[[], None]


def assemble(
    config: Config,
    mountpoint: Path,
    binding: str,
    problems: RecentProblems,
    *,
    restarts: int | None = None,
    unconfined_by: str | None = None,
    passthrough: Callable[[], Mapping[str, Any]] | None = None,
    metrics_addr: Callable[[], str | None] = lambda: None,
) -> Mount:
    """Builds everything that a config asks for; asks nobody anything. Raises `InvalidConfig`.

    `restarts`: how often a supervisor started the daemon anew; None without one. `unconfined_by`: the rights that the
    inflating process cannot give up on this machine; None without such a process. `passthrough`: which files the kernel
    reads itself, as JSON. `metrics_addr`: where metrics are served. All four are for the status.
    """
    engine = Engine(config)
    operations = OperationCounts()
    status = Status(
        mountpoint=mountpoint,
        binding=binding,
        cache_dir=config.cache_dir,
        models={name: tree.models for name, tree in engine.hubs.items()},
        cache=engine.cache,
        http=engine.http,
        buckets=engine.buckets,
        budget=engine.budget,
        problems=problems,
        restarts=restarts,
        unconfined_by=unconfined_by,
        passthrough=passthrough,
        offline=config.offline,
        operations=operations,
        metrics_addr=metrics_addr,
    )
    metrics = Exposition(
        lambda: status.describe(0), {name: name or unquote(tree.models.hub.label) for name, tree in engine.hubs.items()}
    )
    about = {**status.hubs, "pid": os.getpid(), "version": __version__}
    controls = ControlFiles(
        {
            mount_table.ABOUT: lambda: _json(about),
            mount_table.REPORT: lambda: _json(status.describe()),
            mount_table.MODELS: lambda: json.dumps(status.models(mount_table.MOST_BYTES)).encode() + b"\n",
            "metrics": lambda: metrics.text()[0],
            "version": lambda: __version__.encode() + b"\n",
        },
        _views(engine.hubs),
    )
    clients = [*engine.http, *(bucket.http for bucket in engine.buckets)]
    tree = VirtualTree(engine.hubs, controls, engine.cache)
    at_work = {
        "transfers": lambda: chain.from_iterable(client.counts.under_way() for client in clients),
        "status": lambda: json.dumps(status.describe(_TOLD_OF), indent=1).splitlines(),
    }
    return Mount(tree, operations, metrics, at_work, engine.cancellation, engine.close)


def _views(trees: Mapping[str, HubTree]) -> Mapping[str, list[View]]:
    """The caches of client libraries, by name; several hubs may be read through one."""
    found: dict[str, list[View]] = {}
    for name, tree in trees.items():
        for view, made in tree.models.hub.names.views(tree.known, f"../../{name}".rstrip("/")).items():
            found.setdefault(view, []).append(made)
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"

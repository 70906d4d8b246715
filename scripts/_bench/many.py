"""Many at once, and many things: processes that load together, readers and memory, listings."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts._bench.measure import Failed, Program, loader, program, reader, seconds
from scripts._bench.models import Model, tiny
from scripts._bench.peers import Ready, hubfs_mount
from scripts._bench.report import Sample
from scripts._bench.scenarios import FAR, HUBFS, LOCAL, Scenario, Series, bound
from scripts._bench.shaping import UNSHAPED
from scripts._bench.world import World

PROCESSES = 16
HANDLES = 2000
KNOWN = 1500
"""So many of them are cached, where a listing is of models that are."""
FORMS = ("compressed", "uncompressed")
FIRST, FIND, LIST = "hubfs, find, nothing cached", "hubfs, find, cached", "hubfs, ls -lR, cached"

MEMORY_TIER_BYTES = 256 << 20
ALLOWED_BYTES = 200_000_000

_LIST_TIMEOUT_S = 600
_TOGETHER_TIMEOUT_S = 900.0


@contextlib.contextmanager
def started_together(work: Path, command: Sequence[str | Path]) -> Iterator[list[Program]]:
    """Many of the same program, all ready."""
    with contextlib.ExitStack() as stack:
        programs = [
            stack.enter_context(program(work, command, name=f"process-{number}", timeout_s=_TOGETHER_TIMEOUT_S))
            for number in range(PROCESSES)
        ]
        for one in programs:
            one.wait_until_ready()
        yield programs


def loaded_by_many(world: World, form: str) -> Sample:
    """Bytes from the origin, as a multiple of what the origin has of the model."""
    model = world.large
    with (
        world.fresh(UNSHAPED) as work,
        hubfs_mount(world.hosts, work, form) as mount,
        started_together(work, loader()) as programs,
    ):
        ready = Ready(lambda: str(mount.path / model.handle), pids=mount.pids)
        before_s = world.begin(ready)
        for one in programs:
            one.order(path=ready.deliver())
        said = [one.result() for one in programs]
        for each in said:
            world.check_load(model, each)
        sent_bytes = world.settled_bytes()
        whole_bytes = model.archive_bytes if form == "compressed" else model.size_bytes
        return world.sample(ready, sent_bytes / whole_bytes, before_s, slowest_s=max(each["took_s"] for each in said))


def read_by_many(world: World, form: str) -> Sample:
    """The daemon's peak, and its children's, above the size of the memory tier; in MB."""
    model = world.large
    with (
        world.fresh(UNSHAPED) as work,
        hubfs_mount(world.hosts, work, form, "--memory-size", str(MEMORY_TIER_BYTES)) as mount,
        started_together(work, reader()) as programs,
    ):
        ready = Ready(lambda: str(mount.path / model.handle), pids=mount.pids)
        before_s = world.begin(ready)
        for number, one in enumerate(programs):
            # Each begins elsewhere, or they would read as one.
            turned = number % len(model.files)
            one.order(path=ready.deliver(), names=model.files[turned:] + model.files[:turned])
        for number, one in enumerate(programs):
            turned = number % len(model.files)
            world.check_read(model, model.files[turned:] + model.files[:turned], one.result())
        sample = world.sample(ready, 0, before_s)
        above_bytes = (sample.peak_rss_bytes or 0) - MEMORY_TIER_BYTES
        return Sample(
            above_bytes / 1e6, sample.sent_bytes, sample.requests, sample.cpu_s, sample.peak_rss_bytes, sample.more
        )


def listing(command: Sequence[str], place: Path, models: int) -> float:
    """How long `command` takes at `place`. Raises `Failed` when it does not list so many models."""
    found: list[str] = []

    def run() -> None:
        done = subprocess.run(
            [*command, place],
            capture_output=True,
            text=True,
            timeout=_LIST_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise Failed(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-300:]}")
        found.append(done.stdout)

    took_s = seconds(run)
    graphs = found[0].count("saved_model.pb")
    if graphs != models:
        raise Failed(f"{command[0]} found {graphs} models, and not {models}")
    return took_s


@contextlib.contextmanager
def listings(world: World) -> Iterator[Mapping[str, Series]]:
    """Catalogues of many small models, as find and ls see them, beside the same directories on disk."""
    with world.fresh(UNSHAPED) as place:
        model = tiny(place / "tiny")
        handles = [f"bench-{number % 20}/family-{number % 40 // 20}/model-{number}/1" for number in range(HANDLES)]
        directory = place / "local"
        for handle in handles:
            world.hosts.nginx.host_archive(handle, model.archive)
        for handle in handles[:KNOWN]:
            for name in model.files:
                (directory / handle / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / handle / name).write_bytes((model.directory / name).read_bytes())
        with hubfs_mount(world.hosts, place, *_listing(place / "known.jsonl", handles[:KNOWN])) as known:
            listing(["find"], known.path, KNOWN)

            def first() -> Sample:
                with world.fresh(FAR) as work:
                    options = _listing(work / "catalog.jsonl", handles)
                    with hubfs_mount(world.hosts, work, *options) as mount:
                        ready = Ready(lambda: str(mount.path), pids=mount.pids)
                        before_s = world.begin(ready)
                        return world.sample(ready, listing(["find"], mount.path, HANDLES), before_s)

            def again(command: Sequence[str], where: Path) -> Series:
                ours = where == known.path
                ready = Ready(lambda: str(where), pids=known.pids if ours else tuple)

                def measure() -> Sample:
                    before_s = world.begin(ready)
                    return world.sample(ready, listing(command, where, KNOWN), before_s)

                return Series(HUBFS if ours else LOCAL, measure)

            yield {
                FIRST: Series(HUBFS, first),
                FIND: again(["find"], known.path),
                LIST: again(["ls", "-lR"], known.path),
                "local, find": again(["find"], directory),
                "local, ls -lR": again(["ls", "-lR"], directory),
            }


def _listing(catalog: Path, handles: Sequence[str]) -> tuple[str | Path, ...]:
    """Options of a mount whose catalogue, which is written to `catalog`, has these handles."""
    catalog.write_text("".join(json.dumps({"kind": "Module", "handle": handle}) + "\n" for handle in handles))
    return "compressed", "--catalog", catalog


def many_scenarios(large: Model) -> list[Scenario]:
    """Of the large model, and of many small ones."""
    name = large.name
    return [
        Scenario(
            "sixteen",
            f"{PROCESSES} processes load one cold model ({name})",
            "bytes from origin / bytes of the model there",
            lambda world: contextlib.nullcontext(
                {f"hubfs, {form}": Series(HUBFS, lambda form=form: loaded_by_many(world, form)) for form in FORMS}  # type: ignore[misc]
            ),
            [bound(f"at most 1.02 ({form})", f"hubfs, {form}", 1.02) for form in FORMS],
            "",
        ),
        Scenario(
            "memory",
            f"peak RSS of the daemon above the memory tier's size, {PROCESSES} readers ({name})",
            "MB",
            lambda world: contextlib.nullcontext(
                {f"hubfs, {form}": Series(HUBFS, lambda form=form: read_by_many(world, form)) for form in FORMS}  # type: ignore[misc]
            ),
            [bound(f"at most 200 MB ({form})", f"hubfs, {form}", ALLOWED_BYTES / 1e6) for form in FORMS],
            "",
        ),
        Scenario(
            "listing",
            f"find over {HANDLES} handles that nobody opened, 20 ms; find and ls -lR over {KNOWN} cached models",
            "s",
            listings,
            [
                bound("first find: at most 5 s", FIRST, 5),
                bound("find: at most 0.6 s", FIND, 0.6),
                bound("ls -lR: at most 1.0 s", LIST, 1.0),
            ],
            "local, find",
        ),
    ]

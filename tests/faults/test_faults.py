"""The table "Faults" of docs/SEMANTICS.md, executed: real servers, a proxy that does the fault, a real mount, readers.

All rows run at the same time, each with models of its own, since most of their time is waiting.
"""

import errno
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import archives
from tests.support.fault_cases import CASES, Stage
from tests.support.fault_proxy import FaultProxy
from tests.support.figures import Figures, budget
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.mount import Machine, Mount, mounted
from tests.support.nginx import NginxHub, nginx_hub
from tests.support.paths import ROOT

pytestmark = pytest.mark.mounted

FORMS = ("archive", "bucket", "single file")
REFUSED = "connections are refused"
FLIPPED = "a flipped bit"
STALL_S = 3.0
CONNECT_S = 2.0
TTL_S = 1.0
SLACK_S = 15.0
"""Beyond its bound, a reader on a busy machine may take so much longer before it counts as hung."""

HEALED_S = 30.0
BUCKET = "models"
RIGHT = "right bytes"
UNSEEN = "not noticed"

SMALL, LARGE = "saved_model.pb", "variables/variables.data-00000-of-00001"
LITE = "model.tflite"


@dataclass(frozen=True)
class Row:
    """A line of the table. `cells`: form → what readers get. `bounds`: `T` is the stall time-out, in seconds."""

    fault: str
    cells: Mapping[str, str]
    within: str

    @property
    def bound_s(self) -> float:
        stalls, seconds = re.fullmatch(r"(?:(\d+) T \+ )?(\d+) s", self.within).groups()  # type: ignore[union-attr]
        return int(stalls or 0) * STALL_S + int(seconds)


def table() -> list[Row]:
    """The rows of the one table that has a column `within`."""
    text = (ROOT / "docs" / "SEMANTICS.md").read_text(encoding="utf-8")
    lines = text[text.index("| fault | archive | bucket | single file | within |") :].split("\n\n", 1)[0].splitlines()
    rows = []
    for line in lines[2:]:
        fault, *cells, within = (cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        rows.append(Row(fault, dict(zip(FORMS, cells, strict=True)), within))
    return rows


ROWS = table()
RUNS = [(row.fault, form) for row in ROWS for form in FORMS if row.cells[form] != "-"]


@dataclass
class Outcome:
    """What the readers of one model got under a fault, and whether the path worked afterwards."""

    right: int = 0
    unseen: int = 0
    unverified: int = 0
    errors: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    hung: int = 0
    longest_s: float = 0.0
    healed: bool = False
    injected: int = 0


Outcomes = Mapping[tuple[str, str], Sequence["Future[Outcome]"]]
"""Fault and form → the runs of it."""


def contents(form: str, seed: float) -> dict[str, bytes]:
    noise = random.Random(seed)
    large = noise.randbytes(5_200_000 + noise.randrange(1000))
    return (
        {LITE: b"\x1c\0\0\0TFL3" + large} if form == "single file" else {SMALL: noise.randbytes(60_001), LARGE: large}
    )


class Bench:
    """The servers, the proxies before them, and a mount of either: hosts models, and lets faults happen to them."""

    def __init__(self, hub: NginxHub, store: GcsServer, hub_proxy: FaultProxy, store_proxy: FaultProxy) -> None:
        self.hub = hub
        self.store = store
        self.hub_proxy = hub_proxy
        self.store_proxy = store_proxy

    def stage(self, number: int, form: str, noise: random.Random) -> Stage:
        handle = f"noise/lite-model/row{number}/1" if form == "single file" else f"noise/row{number}/1"
        proxy = self.store_proxy if form == "bucket" else self.hub_proxy
        stage = Stage(proxy, handle, form, {}, self.prepare, noise)
        stage.files = self.prepare(stage)()
        return stage

    def prepare(self, stage: Stage) -> Callable[[], Mapping[str, bytes]]:
        """New content for the stage's handle; what is returned hosts it, at once, and returns it."""
        files = contents(stage.form, stage.noise.random())
        archive = self.hub.home / f"{stage.handle.replace('/', '-')}-{stage.noise.random()}.tar.gz"
        if stage.form == "archive":
            archive.write_bytes(archives.gzipped(archives.tar_of(files), level=1))

        def host() -> Mapping[str, bytes]:
            if stage.form == "archive":
                self.hub.host_archive(stage.handle, archive)
            elif stage.form == "bucket":
                for path, data in files.items():
                    self.store.upload(BUCKET, f"{stage.handle}/{path}", data)
                self.hub.host_in_bucket(stage.handle, f"gs://{BUCKET}/{stage.handle}")
            else:
                self.hub.host_file(stage.handle, files[LITE])
            return files

        return host


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("faults")
    with nginx_hub(home / "nginx") as hub, gcs_server() as store:
        store.create_bucket(BUCKET)
        with FaultProxy(hub.url) as hub_proxy, FaultProxy(store.url) as store_proxy:
            yield Bench(hub, store, hub_proxy, store_proxy)


def machine(root: Path, bench: Bench, binding: str = "session") -> Machine:
    return Machine(
        root,
        {
            "HUBFS_FUSE_LIBRARY": binding,
            "STORAGE_EMULATOR_HOST": bench.store_proxy.url,
            "HUBFS_STALL_TIMEOUT": f"{STALL_S:g}s",
            "HUBFS_CONNECT_TIMEOUT": f"{CONNECT_S:g}s",
            "HUBFS_NEGATIVE_TTL": f"{TTL_S:g}s",
            "HUBFS_FAILURE_TTL": f"{TTL_S:g}s",
        },
    )


@pytest.fixture(scope="module")
def mounts(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Mount]]:
    """By form; what is no bucket's is in the same mount."""
    root = tmp_path_factory.mktemp("mounts")
    with ExitStack() as mounting:
        found = {}
        for name, asked in (("compressed", ("archive", "single file")), ("uncompressed", ("bucket",))):
            options = ("--format", name, "-o", "negative_timeout=0")
            user = machine(root / name, bench)
            mount = mounting.enter_context(mounted(user, root / f"hub-{name}", bench.hub_proxy.url, *options))
            found.update(dict.fromkeys(asked, mount))
        yield found


def read_whole(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb", buffering=0) as file:
        offset = 0
        while data := file.read(1 << 20):
            yield offset, data
            offset += len(data)


def read_ranges(path: Path, noise: random.Random, count: int = 6) -> Iterator[tuple[int, bytes]]:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(count):
            offset = noise.randrange(size)
            yield offset, os.pread(file.fileno(), noise.randrange(1, 300_000), offset)


def after_listing(root: Path, path: Path) -> Iterator[tuple[int, bytes]]:
    """As `cp -r` does, which lists first: of an archive, that waits until the whole was verified."""
    os.listdir(root)
    yield from read_whole(path)


def readers(root: Path, stage: Stage, fault: str) -> Sequence[tuple[str, Iterator[tuple[int, bytes]]]]:
    """(file, what a reader gets of it); the generators are run by threads of their own."""
    large = LITE if stage.form == "single file" else LARGE
    small = LITE if stage.form == "single file" else SMALL
    if fault == FLIPPED and stage.form != "single file":
        # What is verified at its end only is not known to be right before; SEMANTICS says so.
        return [(large, after_listing(root, root / large)), (small, after_listing(root, root / small))]
    return [
        (large, read_whole(root / large)),
        (large, read_ranges(root / large, random.Random(stage.noise.random()))),
        (large, after_listing(root, root / large)),
        (small, read_whole(root / small)),
    ]


def read_through(
    name: str,
    pieces: Iterator[tuple[int, bytes]],
    before: Mapping[str, bytes],
    stage: Stage,
    *,
    told_late: bool,
    outcome: Outcome,
) -> str | int | None:
    """None if all bytes were right, and of one content; an errno; or where the first wrong byte is.

    `told_late`: whether an error at the end of a whole file counts for what came before it, as SEMANTICS says.
    """
    fits_old = fits_new = True
    try:
        for offset, data in pieces:
            fits_old = fits_old and before[name][offset : offset + len(data)] == data
            fits_new = fits_new and stage.files[name][offset : offset + len(data)] == data
            if not (fits_old or fits_new or told_late):
                return f"{name} at {offset}"
    except OSError as error:
        outcome.unverified += not (fits_old or fits_new)
        return error.errno
    return None if fits_old or fits_new else name


def run_readers(root: Path, stage: Stage, row: Row, outcome: Outcome) -> None:
    """All at once; who is not done within the bound has hung."""
    before = dict(stage.files)
    results: list[str | int | None] = []

    def work(name: str, pieces: Iterator[tuple[int, bytes]]) -> None:
        started_s = time.monotonic()
        results.append(read_through(name, pieces, before, stage, told_late=row.fault == FLIPPED, outcome=outcome))
        outcome.longest_s = max(outcome.longest_s, time.monotonic() - started_s)

    threads = [threading.Thread(target=work, args=reader, daemon=True) for reader in readers(root, stage, row.fault)]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + row.bound_s + SLACK_S
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    outcome.hung += sum(thread.is_alive() for thread in threads)
    for got in results:
        if got is None:
            outcome.right += 1
        elif isinstance(got, int):
            outcome.errors.append(got)
        elif row.cells[stage.form] == UNSEEN:
            outcome.unseen += 1
        else:
            outcome.wrong.append(str(got))


def heals(root: Path, stage: Stage, *, unseen: bool) -> bool:
    """Whether the same paths give right bytes again, in a while; they do not where a read hangs, either."""
    healed = threading.Event()
    deadline_s = time.monotonic() + HEALED_S

    def look() -> None:
        while time.monotonic() < deadline_s and not healed.is_set():
            with suppress(OSError):
                found = {name: (root / name).read_bytes() for name in stage.files}
                if found == stage.files or unseen:  # what was not noticed is cached
                    healed.set()
            healed.wait(0.2)

    threading.Thread(target=look, name="heals", daemon=True).start()
    return healed.wait(HEALED_S)


def perform(row: Row, stage: Stage, mount: Mount, begin: Callable[[], None], end: Callable[[], None]) -> Outcome:
    outcome = Outcome()
    root = mount.path / stage.handle
    begin()
    try:
        run_readers(root, stage, row, outcome)
    finally:
        end()
    outcome.injected = stage.injected
    outcome.healed = heals(root, stage, unseen=row.cells[stage.form] == UNSEEN)
    return outcome


def judge(row: Row, form: str, outcome: Outcome, figures: Figures) -> None:
    figures.add(
        "faults",
        injected=outcome.injected,
        reads_right=outcome.right,
        reads_unverifiable=outcome.unseen,
        unverified_until_the_end=outcome.unverified,
        wrong_bytes=len(outcome.wrong),
        hangs=outcome.hung,
        **{f"errors_{errno.errorcode[number]}": outcome.errors.count(number) for number in set(outcome.errors)},
    )
    told = f"{row.fault}, {form}: {outcome}"
    expected = row.cells[form]
    assert not outcome.wrong, f"WRONG BYTES: {told}"
    assert not outcome.hung, f"beyond {row.within}: {told}"
    assert outcome.injected, f"the fault did not happen: {told}"
    names = {errno.errorcode[number] for number in outcome.errors}
    if expected == UNSEEN:
        assert outcome.unseen, told
    elif expected == RIGHT:
        assert not names, told
        assert outcome.right, told
    else:
        assert names == {expected}, told
    assert outcome.healed, f"the path did not work again: {told}"


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, bench: Bench, mounts: Mapping[str, Mount]) -> Iterator[Outcomes]:
    """Runs of every row that is asked for, but for the refused connections: all begun."""
    rounds = int(budget("fault_rounds", boxed=1, full=3))
    asked = {item.name for item in request.session.items}
    wanted = [
        (row, form) for row in ROWS for form in FORMS if any(name.endswith(f"[{row.fault}-{form}]") for name in asked)
    ]

    def run(number: int, row: Row, form: str, round_: int) -> Outcome:
        stage = bench.stage(number, form, random.Random(f"{row.fault} {form} {round_}"))
        return perform(row, stage, mounts[form], lambda: CASES[row.fault](stage), stage.lift)

    with ThreadPoolExecutor(16) as pool:
        begun: dict[tuple[str, str], list[Future[Outcome]]] = {}
        for round_ in range(rounds):
            for number, (row, form) in enumerate(wanted, round_ * len(wanted)):
                begun.setdefault((row.fault, form), []).append(pool.submit(run, number, row, form, round_))
        yield begun


def test_the_table_has_every_fault_once_and_no_other() -> None:
    assert sorted(row.fault for row in ROWS) == sorted([*CASES, REFUSED])


@pytest.mark.parametrize(("fault", "form"), [run for run in RUNS if run[0] != REFUSED])
def test_a_reader_gets_what_the_table_says(fault: str, form: str, outcomes: Outcomes, figures: Figures) -> None:
    (row,) = (row for row in ROWS if row.fault == fault)
    for outcome in outcomes[fault, form]:
        judge(row, form, outcome.result(), figures)


# After all others: it happens to every model.
@pytest.mark.parametrize("form", FORMS)
def test_refused_connections_are_told_and_end(
    form: str,
    bench: Bench,
    mounts: Mapping[str, Mount],
    outcomes: Outcomes,
    figures: Figures,
) -> None:
    for runs in outcomes.values():
        for run in runs:
            run.exception()
    (row,) = (row for row in ROWS if row.fault == REFUSED)
    stage = bench.stage(9000 + FORMS.index(form), form, random.Random(form))
    outcome = perform(row, stage, mounts[form], stage.proxy.refuse, stage.proxy.accept)
    outcome.injected += 1
    judge(row, form, outcome, figures)


def test_the_name_of_a_hub_that_is_not_known_is_told(tmp_path: Path, bench: Bench, figures: Figures) -> None:
    with mounted(machine(tmp_path, bench), tmp_path / "hub", "http://hub.invalid", "--format", "compressed") as hub:
        with pytest.raises(OSError, match=os.strerror(errno.EHOSTUNREACH)):
            (hub.path / "noise" / "small" / "1").stat()
        assert "http://hub.invalid" in hub.log()
    figures.add("faults", injected=1, errors_EHOSTUNREACH=1)


@pytest.mark.parametrize("fault", ["connections are reset, twice", "silence before every reply"])
def test_libfuse2_tells_the_same(fault: str, tmp_path: Path, bench: Bench, figures: Figures) -> None:
    (row,) = (row for row in ROWS if row.fault == fault)
    stage = bench.stage(9100 + ROWS.index(row), "archive", random.Random(fault))
    user = machine(tmp_path, bench, "libfuse2")
    with mounted(user, tmp_path / "hub", bench.hub_proxy.url, "--format", "compressed") as hub:
        judge(row, "archive", perform(row, stage, hub, lambda: CASES[fault](stage), stage.lift), figures)

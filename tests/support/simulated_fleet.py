"""A fleet in simulated time: hundreds of daemons over the lease protocol itself, and a store and an origin of figures.

The code of `hubfs.cache.shared` runs as it is (`SharedTurns`, `Lease`, `Listings`, `SharedIndexes`, `RestingStore`) on
a store that takes time, has a limit of requests, and lets other daemons run between two requests. One greenlet a task,
no thread; the same seed gives the same run.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

from greenlet import GreenletExit, getcurrent, greenlet

from hubfs.blobs.retry import Busy, retrying
from hubfs.blobs.store import STORE_SETTINGS, StoredObject
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, CacheKey
from hubfs.cache.shared import listings
from hubfs.cache.shared.indexes import SharedIndexes
from hubfs.cache.shared.layout import RUN_BLOCKS, Place, place_of, run_name
from hubfs.cache.shared.lease import Lease
from hubfs.cache.shared.listings import Found, Listings, found_in
from hubfs.cache.shared.store import RestingStore
from hubfs.cache.shared.turns import SharedTurns
from hubfs.errors import HubfsError

MODEL = "hub/google/large/1@x"
KEY = CacheKey(MODEL, "model.safetensors")
RUN_BYTES = RUN_BLOCKS * BLOCK_SIZE_BYTES
_WRITERS = 4
_WINDOW_RUNS = 4
_TTL_S = 15.0


@dataclass(frozen=True)
class Figures:
    """What the world is like. The store's limits are those that S3 documents for a prefix."""

    model_bytes: int = 128 * RUN_BYTES
    origin_bytes_per_s: float = 125e6  # the site's way out: 1 Gbit/s
    origin_client_bytes_per_s: float = 60e6
    store_bytes_per_s: float = 12.5e9
    store_client_bytes_per_s: float = 250e6
    store_reads_per_s: int = 5500
    store_writes_per_s: int = 3500
    round_trip_s: float = 0.02
    start_s: float = 1.0  # all daemons begin within


class World:
    """Simulated time: tasks that sleep, in the order in which they wake."""

    def __init__(self, seed: int) -> None:
        self.now_s = 0.0
        self.random = random.Random(seed)
        self._sleeping: list[tuple[float, int, greenlet]] = []
        self._count = 0
        self._hub = getcurrent()

    def spawn(self, task: Callable[[], None], after_s: float = 0.0) -> greenlet:
        made = greenlet(task, self._hub)
        self._wake(made, after_s)
        return made

    def sleep(self, seconds_s: float) -> None:
        self._wake(getcurrent(), seconds_s)
        self._hub.switch()

    def _wake(self, task: greenlet, after_s: float) -> None:
        self._count += 1
        heapq.heappush(self._sleeping, (self.now_s + after_s, self._count, task))

    def run(self, until: Callable[[], bool]) -> None:
        """Until nobody sleeps, or `until()`."""
        while self._sleeping and not until():
            self.now_s, _, task = heapq.heappop(self._sleeping)
            if not task.dead:
                task.switch()


class Pipe:
    """Bytes that cross a link, which those who send at the same time share."""

    def __init__(self, world: World, total_bytes_per_s: float, client_bytes_per_s: float) -> None:
        self._world = world
        self._total, self._client = total_bytes_per_s, client_bytes_per_s
        self._active = 0
        self.sent_bytes = 0

    def send(self, size_bytes: int) -> None:
        self._active += 1
        self.sent_bytes += size_bytes  # of a client that is killed, too
        try:
            self._world.sleep(size_bytes / min(self._client, self._total / self._active))
        finally:
            self._active -= 1


class Objects:
    """What the store holds, and how often it was asked in each second."""

    def __init__(self, world: World, figures: Figures) -> None:
        self.world, self.figures = world, figures
        self.small: dict[str, bytes] = {}
        self.runs: dict[str, int] = {}
        self.pipe = Pipe(world, figures.store_bytes_per_s, figures.store_client_bytes_per_s)
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refused = 0
        self._listed: Sequence[StoredObject] | None = None
        self._parsed: tuple[Sequence[StoredObject], Found] | None = None

    def asked(self, kind: str, limit: int) -> None:
        """Raises `Busy` beyond the limit, after half a round trip; some are slower than others."""
        self.world.sleep(self.figures.round_trip_s / 2 * self.world.random.lognormvariate(0, 0.4))
        second = kind, int(self.world.now_s)
        self.requests[second] += 1
        if self.requests[second] > limit:
            self.refused += 1
            raise Busy("the store is busy")

    def put(self, name: str, data: bytes) -> None:
        self.small[name] = data
        self._listed = None

    def put_run(self, name: str, size_bytes: int) -> None:
        self.runs[name] = size_bytes
        self._listed = None

    def delete(self, name: str) -> None:
        if self.small.pop(name, None) is not None:
            self._listed = None

    def listed(self, prefix: str) -> Sequence[StoredObject]:
        """What lies among the blocks; the same list as long as nothing there changes."""
        if self._listed is None:
            leases = (StoredObject(name, len(data)) for name, data in self.small.items() if name.startswith("blocks/"))
            self._listed = [*(StoredObject(name, size) for name, size in self.runs.items()), *leases]
        assert prefix.removesuffix("/") == f"blocks/{MODEL}", "a model of that size is listed as a whole"
        return self._listed

    def found_in(self, model: str, listed: Sequence[StoredObject]) -> Found:
        if self._parsed is None or self._parsed[0] is not listed:
            self._parsed = listed, found_in(model, listed)
        return self._parsed[1]

    def most_per_s(self) -> int:
        return max(self.requests.values(), default=0)


class SimulatedStore:
    """An `ObjectStore`, as one daemon reaches it."""

    url = "simulated://store"

    def __init__(self, objects: Objects, cancellation: "SimulatedCancellation") -> None:
        self._objects, self._cancellation = objects, cancellation

    def get(self, name: str) -> bytes | None:
        return self._ask("read", lambda: self._objects.small.get(name))

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        def write() -> bool:
            if if_absent and name in self._objects.small:
                return False
            self._objects.put(name, data)
            return True

        return self._ask("write", write)

    def delete(self, name: str) -> None:
        self._ask("write", lambda: self._objects.delete(name))

    def list(self, prefix: str) -> Sequence[StoredObject]:
        def found() -> list[StoredObject]:
            if prefix.startswith("blocks/"):
                return self._objects.listed(prefix)
            small = self._objects.small
            return [StoredObject(name, len(small[name])) for name in sorted(small) if name.startswith(prefix)]

        return self._ask("read", found)

    def close(self) -> None: ...

    def put_run(self, name: str, size_bytes: int) -> None:
        self._objects.pipe.send(size_bytes)
        self._ask("write", lambda: self._objects.put_run(name, size_bytes))

    def get_run(self, name: str) -> None:
        self._ask("read", lambda: None)
        self._objects.pipe.send(self._objects.runs[name])

    def _ask(self, kind: str, act):
        figures, world = self._objects.figures, self._objects.world
        limit = figures.store_reads_per_s if kind == "read" else figures.store_writes_per_s

        def attempt():
            self._objects.asked(kind, limit)
            answer = act()
            world.sleep(figures.round_trip_s / 2 * world.random.lognormvariate(0, 0.4))
            return answer

        return retrying(attempt, STORE_SETTINGS.retry, self._cancellation)


class SimulatedCancellation:
    """Nobody unmounts; a kill ends the task itself."""

    cancelled = False

    def __init__(self, world: World) -> None:
        self.sleep = world.sleep

    def check(self) -> None: ...


class SimulatedBeats:
    """`Beats`, in a task in the place of a thread."""

    def __init__(self, daemon: "SimulatedDaemon", beat: Callable[[Lease], None], every_s: float) -> None:
        self._daemon, self._beat, self._every_s = daemon, beat, every_s
        self._held: set[Lease] = set()
        self._running = False

    def __contains__(self, lease: Lease) -> bool:
        return lease in self._held

    def add(self, lease: Lease) -> None:
        self._held.add(lease)
        if not self._running:
            self._running = True
            self._daemon.spawn(self._run)

    def discard(self, lease: Lease) -> None:
        self._held.discard(lease)

    def _run(self) -> None:
        while self._held:
            self._daemon.world.sleep(self._every_s)
            for lease in list(self._held):
                self._beat(lease)
        self._running = False


class SimulatedFlights:
    """`SingleFlight`, with tasks that wait in the place of threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._flying: set[str] = set()

    def run(self, key: str, work: Callable[[], object]) -> object:
        if key in self._flying:
            while key in self._flying:
                self._world.sleep(0.005)
            return None  # nobody looks at it
        self._flying.add(key)
        try:
            return work()
        finally:
            self._flying.discard(key)


@dataclass(eq=False)
class SimulatedDaemon:
    """A daemon that wants the whole model; it stands for its own `SharedTier`, whose threads are tasks here."""

    world: World
    objects: Objects
    origin: Pipe
    number: int
    ready_s: float | None = None
    fetched_bytes: int = 0
    dead: bool = False
    _tasks: list[greenlet] = field(default_factory=list)
    _writing: int = 0

    def __post_init__(self) -> None:
        cancellation = SimulatedCancellation(self.world)
        self.raw = SimulatedStore(self.objects, cancellation)
        self.store = RestingStore(
            self.raw, cancellation, timer=lambda: self.world.now_s, chance=self.world.random.random
        )
        self.listings = Listings(self.store, cancellation, 1.0, timer=lambda: self.world.now_s)
        self.listings._asked = SimulatedFlights(self.world)
        self.indexes = SharedIndexes(self.store, self.afterwards, clock=lambda: self.world.now_s)
        self.turns = SharedTurns(
            self.store,
            self,  # its tier
            self.indexes,
            cancellation,
            ttl_s=_TTL_S,
            clock=lambda: self.world.now_s,
            timer=lambda: self.world.now_s,
            chance=self.world.random.random,
        )
        self.turns._beats = SimulatedBeats(self, self.turns._refresh, _TTL_S / 3)

    def spawn(self, task: Callable[[], None], after_s: float = 0.0) -> None:
        if self.dead:
            return  # what the end of a task would still have done
        self._tasks = [each for each in self._tasks if not each.dead]
        self._tasks.append(self.world.spawn(task, after_s))

    def kill(self) -> None:
        """kill -9: nothing is given back."""
        self.dead = True
        for task in self._tasks:
            task.parent = getcurrent()  # it ends here, and not in the loop of the world
            task.throw(GreenletExit)

    # What `SharedTurns` and `SharedIndexes` ask of the tier.

    def look_again(self, model: str, place: Place | None = None, within_s: float = 0.0) -> None:
        with suppress(HubfsError):
            self.listings.look_again(model, place, within_s)

    def leased(self, model: str, place: Place) -> bool:
        return self.listings.leased(model, place)

    def afterwards(self, model: str, action: Callable[[], None]) -> None:
        def wait() -> None:
            while self._writing:
                self.world.sleep(0.1)
            action()

        self.spawn(wait)

    # What a daemon does.

    def read_archive(self) -> None:
        """A model in an archive: one daemon makes the pass, the others read what it stored."""
        self.look_again(MODEL)
        with self.turns.pass_turn(MODEL, lambda _: self.indexes.of(MODEL) is not None) as turn:
            if turn.mine:
                for number in range(self._runs()):
                    self._fetch(number)
                self.indexes.save(MODEL, {"identity": "x"})
        if not turn.mine:
            self.look_again(MODEL)
            for number in range(self._runs()):
                self._read(number)
        self.ready_s = self.world.now_s

    def read_files(self) -> None:
        """A model of files: a few runs at the same time, each by a lease of its own."""
        waiting = list(range(self._runs()))
        self.look_again(MODEL)

        def work() -> None:
            while waiting:
                self._read_run(waiting.pop(0))
            left.pop()
            if not left:
                self.ready_s = self.world.now_s

        left = [None] * _WINDOW_RUNS
        for _ in left[:]:
            self.spawn(work)

    def _read_run(self, number: int) -> None:
        if not self._is_there(number):
            blocks = range(number * RUN_BLOCKS, (number + 1) * RUN_BLOCKS)
            with self.turns.run_turn(KEY, blocks, lambda: self._is_there(number)):
                if not self._is_listed(number):
                    self._fetch(number)
                    return
        self._read(number)

    def _is_there(self, number: int) -> bool:
        place = place_of(KEY, number * RUN_BLOCKS)
        with suppress(HubfsError):
            self.listings.of(MODEL, place, lambda found: place in found.objects)
        return self._is_listed(number)

    def _is_listed(self, number: int) -> bool:
        known = self.listings._known.get(MODEL)
        return known is not None and place_of(KEY, number * RUN_BLOCKS) in known.found.objects

    def _fetch(self, number: int) -> None:
        self.fetched_bytes += RUN_BYTES
        self.origin.send(RUN_BYTES)
        while self._writing >= 2 * _WRITERS:  # the queue of writes is full
            self.world.sleep(0.05)
        self._writing += 1

        def write() -> None:
            with suppress(HubfsError):
                self.store._guarded(lambda: self.raw.put_run(self._name(number), RUN_BYTES))
            self._writing -= 1

        self.spawn(write)

    def _read(self, number: int) -> None:
        try:
            self.store._guarded(lambda: self.raw.get_run(self._name(number)))
        except HubfsError:
            self.fetched_bytes += RUN_BYTES
            self.origin.send(RUN_BYTES)

    def _runs(self) -> int:
        return self.objects.figures.model_bytes // RUN_BYTES

    @staticmethod
    def _name(number: int) -> str:
        return run_name(MODEL, place_of(KEY, number * RUN_BLOCKS), (1 << RUN_BLOCKS) - 1)


@dataclass(frozen=True)
class Outcome:
    """What came of a run. Bytes are of the origin; those that went to daemons that were killed are apart."""

    daemons: int
    origin_ratio: float
    lost_ratio: float
    ready_s: Sequence[float]
    starved: int
    most_requests_per_s: int
    refused: int


def simulate(
    daemons: int, *, form: str = "archive", kills: int = 0, seed: int = 0, figures: Figures | None = None
) -> Outcome:
    """A fleet that starts cold, each daemon wanting one whole model; so many holders of a lease are killed."""
    figures = figures or Figures()
    world = World(seed)
    objects = Objects(world, figures)
    origin = Pipe(world, figures.origin_bytes_per_s, figures.origin_client_bytes_per_s)
    fleet = [SimulatedDaemon(world, objects, origin, number) for number in range(daemons)]
    for daemon in fleet:
        read = daemon.read_archive if form == "archive" else daemon.read_files
        daemon.spawn(read, world.random.uniform(0, figures.start_s))

    def kill_one() -> None:
        """The daemon that fetched last, of those that hold a lease."""
        holders = [daemon for daemon in fleet if not daemon.dead and daemon.turns._beats._held]
        if holders:
            max(holders, key=lambda daemon: daemon.fetched_bytes).kill()

    for number in range(kills):
        world.spawn(kill_one, 1.5 + 20.0 * number)
    # Daemons that got the same listing share what it says: to parse it is nearly all that a simulation would do.
    with patch.object(listings, "found_in", objects.found_in):
        world.run(lambda: all(daemon.dead or daemon.ready_s is not None for daemon in fleet))
    living = [daemon for daemon in fleet if not daemon.dead]
    lost_bytes = sum(daemon.fetched_bytes for daemon in fleet if daemon.dead)
    return Outcome(
        daemons,
        origin.sent_bytes / figures.model_bytes,
        lost_bytes / figures.model_bytes,
        sorted(daemon.ready_s for daemon in living if daemon.ready_s is not None),
        sum(daemon.ready_s is None for daemon in living),
        objects.most_per_s(),
        objects.refused,
    )


def simulate_takeover(waiters: int, *, seed: int) -> int:
    """How many of so many waiters take a dead daemon's lease over, which all find lapsed within half a second."""
    world = World(seed)
    objects = Objects(world, Figures())
    objects.small["lease"] = b'{"owner": "dead", "time_s": 0}'
    cancellation = SimulatedCancellation(world)
    won: list[int] = []

    def wait(number: int) -> None:
        lease = Lease(
            SimulatedStore(objects, cancellation),
            "lease",
            str(number),
            cancellation=cancellation,
            clock=lambda: world.now_s,
            timer=lambda: world.now_s,
        )
        lease.acquire()
        world.sleep(_TTL_S + world.random.uniform(0, 0.5))
        if lease.acquire():
            won.append(number)

    for number in range(waiters):
        world.spawn(partial(wait, number))
    world.run(lambda: False)
    return len(won)

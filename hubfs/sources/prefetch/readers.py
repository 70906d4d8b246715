"""One model's readers, and what their loaders will want: pure policy."""

import math
from collections.abc import Callable, Sequence

from hubfs.blobs.blob import Prefetchable
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES, blocks_of
from hubfs.sources.prefetch.gguf import Gguf
from hubfs.sources.prefetch.plan import Look, Place, Plan, Stage, Want
from hubfs.sources.prefetch.safetensors import Safetensors
from hubfs.sources.prefetch.saved_model import SavedModel, Sign, sign_of
from hubfs.sources.prefetch.small_files import SmallFiles
from hubfs.sources.prefetch.tfjs import Tfjs
from hubfs.sources.prefetch.zips import Zip
from hubfs.sources.source import Entry, Source

FOLLOW_S = 20.0
"""A model without an open file, and without a read, for so long is not followed any more. A loader has nothing open
while it imports the graph: 1 to 2 s were measured on 2 cores; large graphs on a busy machine take ten times as long."""

PEEK_S = 15.0
"""For so long after a lookup of `saved_model.pbtxt`, the lookup of the debug information tells nothing. The kernel
remembers for 5 s that a name is absent, and does not ask again; reading a large graph comes on top."""

Complete = Callable[[Source, Entry, Prefetchable], None]
"""Has a file completed and verified, of which everything was asked for. Returns at once."""

MOST_PLANS = 32
"""So many plans of one model are followed at once. A pipeline of diffusers has about ten."""

_KINDS: Sequence[type[Plan]] = (SavedModel, Tfjs, Safetensors, Gguf, Zip, SmallFiles)


class ModelReaders:
    """One model's readers, and the burst of prefetching that their opening of `saved_model.pb`, or the like, began.

    A burst is one plan, shared by all who read the model while it lasts. It is over once nobody follows (`FOLLOW_S`).
    The same sign after that, or after everything was asked for, begins another, in which blocks that a reader was
    given are not wanted again: the kernel has them. If it asks for one nevertheless, it lost its pages, and what
    earlier bursts gave does not count any more.

    Not thread-safe: the prefetcher's lock guards it.
    """

    def __init__(self) -> None:
        self._plans: list[Plan] = []
        self._asks: Plan | None = None
        self.complete: Complete = lambda _source, _entry, _blob: None
        self._looks = False
        self._given: dict[Place, int] = {}
        self._burst = 0
        self._open_files = 0
        self._last_s = -math.inf
        self._peeked_s = -math.inf

    @property
    def plans(self) -> bool:
        """Whether there is a burst."""
        return bool(self._plans)

    @property
    def works(self) -> bool:
        """Whether something is to be asked for now, or as soon as there is room."""
        return any(
            not plan.learned or (plan.looks and not self._looks) or plan.wants.works(plan.stage) for plan in self._plans
        )

    def followed(self, now_s: float) -> bool:
        """Whether there is a burst, and somebody may be following it."""
        return self.plans and (self._open_files > 0 or now_s - self._last_s < FOLLOW_S)

    def end(self) -> None:
        """There is no burst any more."""
        self._plans.clear()

    def opened(self, path: str, now_s: float) -> None:
        """A reader opened a file."""
        if not self.followed(now_s):
            self.end()
        self._open_files += 1
        self._last_s = now_s
        for plan in self._plans:
            plan.opened(path)
        self._begin(path, read=False)

    def released(self, now_s: float) -> None:
        """A reader closed a file."""
        self._open_files -= 1
        self._last_s = now_s

    def looked_up(self, path: str, now_s: float) -> None:
        """Somebody looked whether there is a file."""
        sign = sign_of(path)
        if sign is Sign.PEEKING:
            self._peeked_s = now_s
        elif sign is Sign.LOADING and self.followed(now_s) and now_s - self._peeked_s > PEEK_S:
            self._last_s = now_s
            for plan in self._plans:
                if isinstance(plan, SavedModel):
                    plan.stage = Stage.FOLLOWED

    def read(self, path: str, offset_bytes: int, size_bytes: int, file_size_bytes: int, now_s: float) -> None:
        """A reader was given these bytes. A block counts as given once its end is."""
        self._last_s = now_s
        end_bytes = offset_bytes + size_bytes
        for index in blocks_of(offset_bytes, size_bytes, file_size_bytes):
            if end_bytes < min((index + 1) * BLOCK_SIZE_BYTES, file_size_bytes):
                continue
            place = (path, index)
            if self._given.get(place, self._burst) != self._burst:
                self._given = {place: burst for place, burst in self._given.items() if burst == self._burst}
            self._given[place] = self._burst
        if offset_bytes == 0:
            self._begin(path, read=True)
        for plan in self._plans:
            if plan.covers(path):
                plan.read(path, offset_bytes, end_bytes)

    def _begin(self, path: str, *, read: bool) -> None:
        kind = next((kind for kind in _KINDS if kind.begins(path, read=read)), None)
        if kind is None:
            return
        for plan in self._plans:
            if isinstance(plan, kind) and plan.covers(path) and not plan.over:
                return
        self._plans = [plan for plan in self._plans if not plan.over]
        if len(self._plans) < MOST_PLANS:
            self._plans.append(kind(path))
            self._burst += 1

    def unlearned(self) -> list[Plan]:
        """The plans that are to be told what the model has."""
        return [plan for plan in self._plans if not plan.learned]

    def look(self) -> tuple[Plan, Look] | None:
        """What a plan wants to see next. The caller tells what was seen (`saw`); until then there is no other."""
        plan = None if self._looks else next((plan for plan in self._plans if plan.looks), None)
        if plan is None:
            return None
        self._looks = True
        return plan, plan.looks.popleft()

    def saw(self, plan: Plan, look: Look, seen: object) -> None:
        """What was found where the plan wanted to look; None: nothing."""
        self._looks = False
        plan.saw(look, seen)

    def next(self) -> Want | None:
        """What to ask for next; None: nothing now."""
        for plan in self._plans:
            want = plan.wants.next(plan.stage, self._given)
            if want is not None:
                self._asks = plan
                return want
        return None

    def asked(self, want: Want, end_bytes: int) -> bool:
        """What `next` returned was asked for, up to `end_bytes`. Returns whether all of its file was asked for now."""
        return self._asks is not None and self._asks in self._plans and self._asks.wants.asked(want, end_bytes)

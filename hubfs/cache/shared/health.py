"""How a store is treated that refuses or fails: policy alone, no I/O and no clock."""

import math
from dataclasses import dataclass, replace

from hubfs.blobs.retry import RetryPolicy

PATIENCE_S = 30.0
"""A request that is refused is repeated for so long; then the store is left alone."""

PACE = RetryPolicy(base_s=0.25, cap_s=4.0, retry_after_cap_s=4.0)
"""The waits before requests to a busy store. A lease, which is refreshed every 5 s, outlives them."""

_SLOWEST = 5
"""`PACE` has reached its cap."""

_FIRST_REST_S = 10.0
_LONGEST_REST_S = 300.0


@dataclass(frozen=True)
class Health:
    """What a daemon knows of its store. Methods return what the daemon knows next; all times are of one clock.

    A busy store (429, 503 SlowDown, any other 5xx) is no outage: each refusal makes all requests of the daemon slower,
    and each answer makes them quicker again. A store that fails otherwise, or has refused one request for `PATIENCE_S`,
    is left alone: ten seconds, doubled up to five minutes. After a rest one refusal is enough to begin the next one.
    """

    slowness: int = 0
    failing: bool = False
    rest_s: float = 0.0
    resting_until_s: float = -math.inf

    def resting(self, now_s: float) -> bool:
        """Whether the store is left alone just now."""
        return self.failing and now_s < self.resting_until_s

    def answered(self, now_s: float) -> "Health":
        """After an answer. An answer to a request that began before the rest ends no rest."""
        if self.resting(now_s):
            return self
        return Health(slowness=max(0, self.slowness - 1))

    def refused(self, now_s: float, asked_s: float) -> "Health":
        """After the store said that it is busy, to a request that has been repeated for `asked_s` seconds."""
        if self.failing or asked_s >= PATIENCE_S:
            return self.failed(now_s)
        return replace(self, slowness=min(_SLOWEST, self.slowness + 1))

    def failed(self, now_s: float) -> "Health":
        """After a failure. A failure of a request that began before the rest makes the rest no longer."""
        if self.resting(now_s):
            return self
        rest_s = min(max(2 * self.rest_s, _FIRST_REST_S), _LONGEST_REST_S)
        return Health(failing=True, rest_s=rest_s, resting_until_s=now_s + rest_s)

    def delay_s(self, refusals: int, wish_s: float, chance: float) -> float:
        """The wait, in seconds, before a request that was refused so many times; `chance` is in [0, 1).

        `wish_s` is what the store asked for (`Retry-After`), 0 if nothing.
        """
        steps = max(refusals, self.slowness)
        backed_off_s = PACE.delay_s(steps, lambda: chance) if steps else 0.0
        return max(backed_off_s, min(wish_s, PACE.retry_after_cap_s))

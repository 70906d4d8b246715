"""How slowly bytes may come before it is no transfer any more."""

from hubfs.blobs.retry import PROGRESS_BYTES

SLOWEST_BYTES_PER_S = 1024
"""Below that a host is as good as silent: a byte now and then would keep its readers waiting for days."""

_LONGEST_WINDOW_S = PROGRESS_BYTES / SLOWEST_BYTES_PER_S  # so that what is given up as too slow was no progress


class PaceFloor:
    """Whether a transfer is too slow: over a window as long as the silence that is borne, at most a minute.

    Only the time spent waiting counts, since a reader that pauses is no fault of the host. For one thread.
    """

    def __init__(self, stall_timeout_s: float) -> None:
        self.window_s = min(stall_timeout_s, _LONGEST_WINDOW_S)
        self._waited_s = 0.0
        self._came_bytes = 0

    def too_slow(self, waited_s: float, came_bytes: int) -> bool:
        """Takes into account that `came_bytes` came after a wait of `waited_s`."""
        self._waited_s += waited_s
        self._came_bytes += came_bytes
        if self._waited_s < self.window_s:
            return False
        slow = self._came_bytes < SLOWEST_BYTES_PER_S * self._waited_s
        self._waited_s, self._came_bytes = 0.0, 0
        return slow

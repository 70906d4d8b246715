"""A token that the store refuses before its time."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

_BETWEEN_S = 60.0


class Credentials(Protocol):
    """What google-auth calls so: without a `token` they get themselves a new one before the next request."""

    token: str | None


class RefusedTokens:
    """Gives up tokens that the store refuses, though by this machine's clock they hold still: revoked, or it is slow.

    At most one in a minute, or credentials that may not read would be renewed with each request. `_lock` guards
    `_given_up_s` and the setting of tokens.
    """

    def __init__(self, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._given_up_s: float | None = None

    def give_up(self, credentials: Credentials | None, authorization: str) -> bool:
        """Whether a request that was refused with this header is worth another attempt, with another token."""
        if credentials is None:  # anonymous
            return False
        with self._lock:
            if credentials.token is None or credentials.token not in authorization:
                return True  # another request was refused, too, and faster
            if self._given_up_s is not None and self._timer() - self._given_up_s < _BETWEEN_S:
                return False
            self._given_up_s = self._timer()
            credentials.token = None
            return True

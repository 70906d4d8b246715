"""Hosts behind one name that name the same bytes differently."""

import logging
import threading

_MOST = 8
"""How often a host is asked in all that names another version of as many bytes: of two replicas, all these replies come
from the wrong one once in 250 times."""

_MOST_OF_REPLICAS = 64
"""How often, once it is known to be replicas. An archive of 400 MB takes a hundred requests, and has to survive all."""

_log = logging.getLogger(__name__)


class Replicas:
    """Whether the host of `url` (as it is shown) is several: another version from it need not be a change.

    `_lock` guards `_are_known`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._are_known = False

    def may_be(self, asked: int) -> bool:
        """Whether it is worth asking again after so many replies in a row that were about another version."""
        with self._lock:
            return asked < (_MOST_OF_REPLICAS if self._are_known else _MOST)

    def answered(self, asked: int) -> None:
        """The reply of this number, from 1 on, was about the version that was seen first."""
        with self._lock:
            new = asked > 1 and not self._are_known
            self._are_known = self._are_known or new
        if new:
            _log.warning(
                "%s has replicas that name the same bytes differently: each read may take several requests; "
                "ask the host's operator for equal ETags and dates",
                self._url,
            )

"""Tokens for buckets: the one place that imports gcsfs, and not before a token is needed, since that takes 0.5 s."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hubfs.blobs import json_text
from hubfs.blobs.http.settings import Bearer
from hubfs.errors import AccessDenied, HubfsError, InvalidConfig, Unavailable, needing, quoted
from hubfs.waiting import Cancellation, await_result

HOW_TO_SAY = "(HUBFS_GCS_TOKEN: google_default, or the path of a credentials file)"
_DEFAULT = "google_default"
_BETWEEN_S = 60.0
"""A token that is refused is given up no more often, or credentials that may not read would be renewed each time."""


_DAMAGED = "no whole key of a service account, and no user's credentials"
_KINDS = ({"client_email", "token_uri", "private_key"}, {"refresh_token", "client_id", "client_secret"})
"""What a credentials file has: of a service account, or of a user."""


class GcsCredentials:
    """The credentials `token`: "google_default", or the path of a credentials file. Thread-safe.

    `access` is the scope that they are asked for: "read_only" or "read_write". Tokens are renewed before they expire,
    in a thread that nobody waits for longer than `timeout_s`, nor beyond a cancel. `_lock` guards the fields below it.
    Raises `InvalidConfig` for a file that holds none, and for another text, which is not shown: it may be a token.
    """

    def __init__(
        self,
        token: str,
        access: str,
        cancellation: Cancellation,
        timeout_s: float,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        # gcsfs would take any other text for a bearer token, and send it away to ask when it expires.
        if token != _DEFAULT:
            if not Path(token).is_file():
                raise InvalidConfig("the GCS credentials are neither 'anon', 'google_default' nor the path of a file")
            _check(Path(token))
        self.bearer = Bearer(self.headers, self.refused)
        self._token = token
        self._access = access
        self._cancellation = cancellation
        self._timeout_s = timeout_s
        self._timer = timer
        self._lock = threading.Lock()
        self._google: Any = None
        self._renewal: Future[None] | None = None
        self._given_up_s: float | None = None

    def load(self) -> None:
        """Reads the credentials, if that was not done. Raises `InvalidConfig` for some that cannot be used.

        "google_default" may ask the machine's metadata server, and waits for its answer.
        """
        if self._loaded() is not None:
            return
        with needing("gcsfs", f"HUBFS_GCS_TOKEN={quoted(self._token)}"):
            from gcsfs.credentials import GoogleCredentials  # noqa: PLC0415 - see the module
            from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - it comes with gcsfs

        # A file may be named like one of gcsfs's other ways to authenticate.
        method = self._token if self._token == _DEFAULT else str(Path(self._token).absolute())
        try:
            loaded = GoogleCredentials("", self._access, method)
        except (GoogleAuthError, OSError, ValueError, KeyError) as error:
            raise _useless(self._token, _DAMAGED if isinstance(error, KeyError) else quoted(error)) from error
        with self._lock:
            self._google = self._google or loaded

    def headers(self) -> Mapping[str, str]:
        """What authenticates a request.

        Raises `AccessDenied` when they cannot be used or renewed, `Unavailable`, `TimedOut`, `Cancelled`.
        """
        google = self._loaded()
        if google is None or not google.credentials.valid:
            await_result(self._renewed(), self._cancellation, self._timeout_s, "a token for buckets")
        found: dict[str, str] = {}
        self._loaded().credentials.apply(found)
        return found

    def refused(self, authorization: str) -> bool:
        """Whether a request that was refused with this header is worth another attempt, with another token.

        The store may refuse a token that by this machine's clock holds still: it was revoked, or the clock is slow.
        """
        google = self._loaded()
        if google is None:
            return False
        with self._lock:
            token = google.credentials.token
            if token is None or token not in authorization:
                return True  # another request was refused, too, and faster
            if self._given_up_s is not None and self._timer() - self._given_up_s < _BETWEEN_S:
                return False
            self._given_up_s = self._timer()
            google.credentials.token = None  # without one, google-auth gets another
            return True

    def _loaded(self) -> Any:
        with self._lock:
            return self._google

    def _renewed(self) -> "Future[None]":
        """The renewal that is under way, begun here if there was none."""
        with self._lock:
            if self._renewal is not None:
                return self._renewal
            mine = self._renewal = Future()
        # Not of a pool, whose threads the end of the process waits for: google-auth waits up to two minutes.
        threading.Thread(target=self._renew, args=(mine,), name="hubfs-token", daemon=True).start()
        return mine

    def _renew(self, mine: "Future[None]") -> None:
        error: HubfsError | None = None
        try:
            self.load()
            self._loaded().maybe_refresh()
        except InvalidConfig as invalid:
            error = AccessDenied(f"{invalid} {HOW_TO_SAY}")
        except Exception as raised:  # noqa: BLE001 - of gcsfs, google-auth and what they stand on
            unreachable = type(raised).__name__ == "TransportError"
            kind = Unavailable if unreachable else AccessDenied
            error = kind(f"the GCS credentials ({self._token}) could not be renewed: {quoted(raised)} {HOW_TO_SAY}")
        with self._lock:
            self._renewal = None
        if error is None:
            mine.set_result(None)
        else:
            mine.set_exception(error)


def _check(path: Path) -> None:
    """Has a file that is of no use refused before gcsfs is asked, which nobody may need. Raises `InvalidConfig`."""
    try:
        found = json_text.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _useless(path, quoted(error)) from error
    if not isinstance(found, dict) or not any(kind <= found.keys() for kind in _KINDS):
        raise _useless(path, _DAMAGED)


def _useless(token: object, reason: str) -> InvalidConfig:
    return InvalidConfig(f"GCS credentials ({token}) cannot be used: {reason}")

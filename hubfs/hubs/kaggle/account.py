"""Who asks Kaggle: the headers that sign in at its API, renewed before they expire."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from hubfs.blobs.retry import LeftAlone, Permanent
from hubfs.errors import AccessDenied, Damaged, NotFound
from hubfs.hubs.kaggle.credentials import Credentials
from hubfs.hubs.kaggle.dialects import Question, rpc
from hubfs.waiting import Cancellation, SingleFlight

_log = logging.getLogger(__name__)

_EARLY_S = 300.0
_HOLDS_S = 12 * 3600
"""The life of an access token that Kaggle's command line asks for, in seconds."""
_RENEWING_S = 300.0

Ask = Callable[[Question], object]
"""What Kaggle answers to a question that needs no signing in."""


class Account:
    """Signs in by the credentials that were `found`; `given` are the headers that the user named for this hub.

    An access token of OAuth is renewed before it expires, and when it is refused, at `endpoint` (None: Kaggle's own
    host); the new one is kept in memory only. If Kaggle does not take the refresh token any more, hubfs goes on without
    an account, as it does where the file with the token is not there. Methods raise `TimedOut` and `Unavailable`.

    `_lock` guards `_found`; nobody is asked while it is held.
    """

    def __init__(
        self,
        found: Credentials | None,
        given: Mapping[str, str],
        endpoint: str | None,
        cancellation: Cancellation,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._found = found
        self._given = given
        self._endpoint = endpoint
        self._clock = clock
        self._lock = threading.Lock()
        self._renewing: SingleFlight[str, Credentials | None] = SingleFlight(cancellation, _RENEWING_S)

    @property
    def source(self) -> str:
        """By what hubfs signs in, for messages."""
        found = self._now()
        if found is not None:
            return f"the credentials of {found.source}"
        return "the token or the headers of this hub" if self._given else "no credentials"

    def headers(self, ask: Ask) -> Mapping[str, str]:
        """Those of the next request to the API."""
        found = self._now()
        if found is not None and found.expires_s is not None and self._clock() >= found.expires_s - _EARLY_S:
            found = self._renewed(found, ask)
        return self._given if found is None else {**self._given, "Authorization": found.authorization}

    def refused(self, headers: Mapping[str, str], ask: Ask) -> bool:
        """Kaggle answered 401 to `headers`: whether those of the next request are others."""
        found = self._now()
        if found is not None and found.refresh_token and found.authorization == headers.get("Authorization"):
            self._renewed(found, ask)
        return self.headers(ask) != headers

    def _now(self) -> Credentials | None:
        with self._lock:
            return self._found

    def _renewed(self, old: Credentials, ask: Ask) -> Credentials | None:
        return self._renewing.run("a token of Kaggle", lambda: self._renew(old, ask))

    def _renew(self, old: Credentials, ask: Ask) -> Credentials | None:
        found = self._now()
        if found is not old:
            return found  # another reader was faster
        new: Credentials | None = None
        try:
            new = self._generate(old, ask)
        except LeftAlone:
            raise
        except (AccessDenied, NotFound, Permanent) as error:
            _log.warning(
                "%s: Kaggle is asked without an account; `kaggle auth login` signs in, then mount again", error
            )
        with self._lock:
            self._found = new
        return new

    def _generate(self, old: Credentials, ask: Ask) -> Credentials:
        fields = {
            "refreshToken": old.refresh_token,
            "apiVersion": "API_VERSION_V1",
            "expirationDuration": f"{_HOLDS_S}s",
        }
        question = rpc(self._endpoint, "users.AccountService", "GenerateAccessToken", fields)
        answer = ask(question)
        token, holds_s = (answer.get("token"), answer.get("expiresIn")) if isinstance(answer, dict) else (None, None)
        if not isinstance(token, str) or type(holds_s) is not int or not (token.isascii() and token.isprintable()):
            raise Damaged(f"{question.shown} answered with something that is no token")
        holds_s = max(holds_s, 2 * _EARLY_S)  # one that holds for less is used until it is refused
        return replace(old, authorization=f"Bearer {token}", expires_s=self._clock() + holds_s)

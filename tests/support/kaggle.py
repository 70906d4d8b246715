"""A stand-in for Kaggle Models and for the store behind it: two origins, in a thread of the test's process.

with KaggleStandIn() as kaggle:
    kaggle.put("google/spice/tensorFlow2/spice/1", {"saved_model.pb": graph})
    kaggle.script("DownloadModelInstanceVersion", too_many(retry_after_s=1))    # one answer each, in order
    ... kaggle.url + "/api/v1/models.ModelApiService/ListModelInstanceVersionFiles" ...
    kaggle.calls["DownloadModelInstanceVersion"], kaggle.stored, kaggle.store.forget_urls()

`url` is the API: the RPC dialect by POST, the REST dialect by GET. A download is a redirect to `store.url`, which knows
signed URLs and ranges, and nothing of accounts. The API's origin passes requests for the store on, so it serves as the
HTTP proxy of clients that know no other endpoint than http://localhost.
"""

import json
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from tests.support.kaggle_models import (
    Variation,
    Version,
    archive_of,
    files_of,
    instance_of,
    model_of,
    object_of,
    squashed,
    tar_gz,
    version_of,
)
from tests.support.kaggle_replies import Reply, json_reply, refusal
from tests.support.kaggle_store import KaggleStore, Stored
from tests.support.two_origins import Gate, TwoOrigins

_MOST_MODELS = 50  # ListModels honours no larger page
_MOST_ON_A_PAGE = 200
_URL_LIVES_S = 259_200  # three days
_RPC = re.compile(r"/api/v1/(?:models\.ModelApiService|users\.AccountService)/(\w+)")
# The REST paths below /api/v1/models/: what they ask, and the RPC's names of their segments.
_REST = (
    (re.compile(r"list"), "ListModels"),
    (re.compile(r"(?P<ownerSlug>[^/]+)/(?P<modelSlug>[^/]+)/get"), "GetModel"),
    (re.compile(r"(?P<ownerSlug>[^/]+)/(?P<modelSlug>[^/]+)/list"), "ListModelInstances"),
    (
        re.compile(r"(?P<ownerSlug>[^/]+)/(?P<modelSlug>[^/]+)/(?P<framework>[^/]+)/(?P<instanceSlug>[^/]+)/get"),
        "GetModelInstance",
    ),
    (
        re.compile(r"(?P<ownerSlug>[^/]+)/(?P<modelSlug>[^/]+)/(?P<framework>[^/]+)/(?P<instanceSlug>[^/]+)/list"),
        "ListModelInstanceVersions",
    ),
    (
        re.compile(
            r"(?P<ownerSlug>[^/]+)/(?P<modelSlug>[^/]+)/(?P<framework>[^/]+)/(?P<instanceSlug>[^/]+)"
            r"(/(?P<versionNumber>\d+))?/files"
        ),
        "ListModelInstanceVersionFiles",
    ),
    (
        re.compile(
            r"(?P<ownerSlug>[^/]+)/(?P<modelSlug>[^/]+)/(?P<framework>[^/]+)/(?P<instanceSlug>[^/]+)"
            r"/(?P<versionNumber>\d+)/download(/(?P<path>.+))?"
        ),
        "DownloadModelInstanceVersion",
    ),
)


class _Refused(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class KaggleStandIn(TwoOrigins):
    """Both origins. `_lock` guards every table; answers are sent outside it.

    `calls` counts the API's requests by the RPC's method, in both dialects; `dialects` are those that were spoken,
    `users` those that signed in.
    `page_sizes` bounds what one page holds, whatever is asked. `tokens` and `refresh_tokens` (token → user) and `keys`
    (user → key) are the credentials that count; `readers` and `consented` are the users that see private models and
    models behind terms of use. `gate` may hold requests to the store back. Knobs: `anonymous_lists` False refuses what
    may need an account (GetModel, ListModelInstances, ListModelInstanceVersions); `hides_missing` answers 403 where
    nothing is; `repeats_token` answers the same page, with the same token, for ever.
    """

    def __init__(self, *, page_sizes: int = _MOST_ON_A_PAGE, url_lives_s: int = _URL_LIVES_S) -> None:
        self.page_sizes = page_sizes
        self.anonymous_lists, self.hides_missing, self.repeats_token = True, False, False
        self.tokens: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.refresh_tokens: dict[str, str] = {}
        self.token_holds_s = 43_200
        self.private: set[str] = set()  # "owner/model"
        self.gated: set[str] = set()
        self.readers: set[str] = set()
        self.consented: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.dialects: set[str] = set()
        self.users: set[str] = set()
        self.stored: list[Stored] = []
        self.store = KaggleStore(url_lives_s)
        self.gate = Gate(lambda *_: False)
        super().__init__("kaggle", self.store)
        self._variations: dict[tuple[str, str, str, str], Variation] = {}
        self._put = 0  # versions

    # What a test says

    def put(
        self,
        handle: str,
        files: Mapping[str, bytes],
        *,
        listed: Mapping[str, int] | None = None,
        stored: Mapping[str, bytes] | None = None,
        archive: bytes | None = None,
    ) -> None:
        """A version `owner/model/framework/variation/N`, whose files the listing may lie about, and the store, too.

        `archive` stands in the place of the tar.gz of the files.
        """
        owner, model, framework, slug, number = handle.split("/")
        with self._lock:
            key = (owner.lower(), model.lower(), squashed(framework), slug.lower())
            named = Variation(owner, model, framework, slug, 600 + len(self._variations))
            variation = self._variations.setdefault(key, named)
            version = Version(variation.instance_id, 7000 + self._put, files, listed or {}, stored or {})
            self._put += 1
            variation.versions[int(number)] = version
            for path, content in files.items():
                self.store.put(object_of(version, path), version.stored.get(path, content))
            self.store.put(archive_of(version), tar_gz(files) if archive is None else archive)

    def object_of(self, handle: str, path: str) -> str:
        """The path of a file at the store."""
        owner, model, framework, slug, number = handle.split("/")
        variation = self._variations[owner.lower(), model.lower(), squashed(framework), slug.lower()]
        return object_of(variation.versions[int(number)], path)

    def mend(self) -> None:
        """No fault that was scripted happens any more, and the store sends what it should."""
        with self._lock:
            self._scripts.clear()
        self.repeats_token = False
        self.store.mend()

    def reset_counts(self) -> None:
        with self._lock:
            self.calls.clear()
            self.stored.clear()

    @property
    def body_bytes(self) -> int:
        """What the store sent."""
        with self._lock:
            return sum(stored.body_bytes for stored in self.stored)

    # Two origins

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        to_store = self.store.url in {f"http://{request.headers.get('Host')}", f"http://127.0.0.1:{port}"}
        if to_store:
            headers = {name.lower(): value for name, value in request.headers.items()}
            await self.gate.pass_by(request.url.raw_path, headers)
        reply = self._from_store(request) if to_store else self._from_api(request, body)
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)

    def _from_store(self, request: web.BaseRequest) -> Reply:
        reply = self._scripted("store", self.store.answer(request))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.stored.append(
                Stored(request.url.raw_path, headers.get("range"), reply.status, len(reply.body), headers)
            )
        return reply

    def _from_api(self, request: web.BaseRequest, body: bytes) -> Reply:
        asked = _question(request, body)
        if asked is None:
            return refusal(404, f"No such page: {request.path}")
        method, want = asked
        with self._lock:
            self.calls[method] += 1
            self.dialects.add("rpc" if request.method == "POST" else "rest")
            try:
                reply = self._answer(method, want, request.headers.get("Authorization"))
            except _Refused as refused:
                reply = refused.reply
        return self._scripted(method, reply)

    def _answer(self, method: str, want: Mapping[str, Any], authorization: str | None) -> Reply:
        """Raises `_Refused`."""
        if method == "GenerateAccessToken":
            return self._access_token(want)
        user = self._user(authorization)
        if authorization is not None and user is None:
            raise _Refused(refusal(401, "Unauthenticated"))
        if user is not None:
            self.users.add(user)
        listing = method in {"GetModel", "ListModelInstances", "ListModelInstanceVersions"}
        if listing and user is None and not self.anonymous_lists:
            raise _Refused(refusal(403, f"Permission denied for {method}"))
        if method == "ListModels":
            return self._models(want)
        of_model = self._of_model(want, user)
        if method == "GetModel":
            return json_reply(model_of(of_model))
        if method == "ListModelInstances":
            return self._page("instances", [instance_of(each) for each in of_model], want, _MOST_ON_A_PAGE)
        return self._of_variation(method, of_model, want, user)

    def _of_model(self, want: Mapping[str, Any], user: str | None) -> list[Variation]:
        wanted = (want.get("ownerSlug", "").lower(), want.get("modelSlug", "").lower())
        found = [variation for key, variation in self._variations.items() if key[:2] == wanted]
        if not found:
            raise self._nothing()
        if f"{found[0].owner}/{found[0].model}" in self.private and user not in self.readers:
            raise _Refused(refusal(403, "Permission 'models.get' was denied"))
        return found

    def _of_variation(
        self, method: str, of_model: Iterable[Variation], want: Mapping[str, Any], user: str | None
    ) -> Reply:
        wanted = (squashed(str(want.get("framework"))), want.get("instanceSlug", "").lower())
        for variation in of_model:
            if (squashed(variation.framework), variation.slug.lower()) == wanted:
                break
        else:
            raise self._nothing()
        if method == "GetModelInstance":
            return json_reply(instance_of(variation))
        if method == "ListModelInstanceVersions":
            listed = [version_of(variation, number) for number in sorted(variation.versions, reverse=True)]
            return self._page("versions", listed, want, _MOST_ON_A_PAGE, "versionList")
        number = int(want.get("versionNumber") or max(variation.versions))
        if number not in variation.versions:
            raise self._nothing()
        version = variation.versions[number]
        if method == "ListModelInstanceVersionFiles":
            return self._page("files", files_of(version), want, _MOST_ON_A_PAGE)
        if method != "DownloadModelInstanceVersion":
            raise _Refused(refusal(404, f"No such method: {method}"))
        if f"{variation.owner}/{variation.model}" in self.gated and user not in self.consented:
            raise _Refused(refusal(403, "User has not consented to terms of use"))
        path = want.get("path")
        if path and path not in version.files:
            raise self._nothing()
        return Reply(
            302, {"Location": self.store.signed_url(object_of(version, path) if path else archive_of(version))}
        )

    def _access_token(self, want: Mapping[str, Any]) -> Reply:
        user = self.refresh_tokens.get(want["refreshToken"])
        if user is None or want.get("apiVersion") != "API_VERSION_V1":
            raise _Refused(refusal(400, "Invalid refresh token"))
        token = f"KGAT_{len(self.tokens):032x}"
        self.tokens[token] = user
        return json_reply({"token": token, "expiresIn": self.token_holds_s})

    def _nothing(self) -> "_Refused":
        return _Refused(refusal(403, "Permission denied") if self.hides_missing else refusal(404, "Not found"))

    def _user(self, authorization: str | None) -> str | None:
        scheme, _, text = (authorization or "").partition(" ")
        if scheme == "Bearer":
            return self.tokens.get(text)
        if scheme == "Basic":
            user, _, key = b64decode(text).decode().partition(":")
            return user if self.keys.get(user) == key else None
        return None

    def _models(self, want: Mapping[str, Any]) -> Reply:
        owner, words = want.get("owner", "").lower(), want.get("search", "").lower()
        by_model: dict[tuple[str, str], list[Variation]] = {}
        for (of_owner, of_name, _, _), variation in self._variations.items():
            if (
                owner in {"", of_owner}
                and words in of_name
                and f"{variation.owner}/{variation.model}" not in self.private
            ):
                by_model.setdefault((of_owner, of_name), []).append(variation)
        return self._page("models", [model_of(found) for found in by_model.values()], want, _MOST_MODELS)

    def _page(self, field_name: str, rows: list[Any], want: Mapping[str, Any], most: int, within: str = "") -> Reply:
        """A page by an opaque token. An asked size beyond `most` is not honoured."""
        start = int(b64decode(want.get("pageToken") or "MA=="))
        asked = int(want.get("pageSize") or want.get("page_size") or 20)
        end = start + max(1, min(asked, most, self.page_sizes))
        part = {field_name: rows[start:end]}
        answer: dict[str, Any] = {within: part} if within else part
        if self.repeats_token:
            answer["nextPageToken"] = b64encode(b"0").decode()
        else:
            answer["nextPageToken"] = b64encode(str(end).encode()).decode() if end < len(rows) else ""
        return json_reply({**answer, "totalResults": len(rows)})


def _question(request: web.BaseRequest, body: bytes) -> tuple[str, Mapping[str, Any]] | None:
    """Which of the RPC's methods is called, in either dialect, and with what."""
    rpc = _RPC.fullmatch(request.path)
    if rpc is not None:
        return (rpc[1], json.loads(body or b"{}")) if request.method == "POST" else None
    if request.method != "GET" or not request.path.startswith("/api/v1/models/"):
        return None
    path = request.path.removeprefix("/api/v1/models/")
    for pattern, method in _REST:
        rest = pattern.fullmatch(path)
        if rest is not None:
            return method, {**request.query, **{name: text for name, text in rest.groupdict().items() if text}}
    return None

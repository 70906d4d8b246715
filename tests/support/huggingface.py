"""A stand-in for the Hugging Face Hub and for the CDN behind it: two origins, in a thread of the test's process.

with HuggingFaceStandIn() as hub:
    commit = hub.put("BAAI/bge-m3", {"config.json": b"{}", "model.safetensors": weights})
    hub.script("resolve", too_many("resolvers", 1))    # one answer each, in order
    ... hub.url + "/api/models/BAAI/bge-m3/revision/main" ...
    hub.calls["resolve"], hub.asked, hub.cdn.forget_urls()

`url` is the hub: model info, tree, refs, lists of namespaces, and `resolve`. A file of Git comes from the hub itself; a
file of LFS is a redirect to `cdn.url`, which knows signed URLs and ranges, and nothing of accounts.
"""

import gzip
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from aiohttp import web

from tests.support.huggingface_cdn import Cdn
from tests.support.huggingface_repo import Commit, Content, Repo, entries_of
from tests.support.kaggle_replies import Fault, Reply, json_reply, ranged
from tests.support.two_origins import TwoOrigins

_MOST_ON_A_PAGE = 1000
_URL_LIVES_S = 3600
_QUOTAS = {"api": 500, "resolvers": 3000}
"""What an address without an account may ask within five minutes."""
_WINDOW_S = 300
_TYPES = ("models", "datasets")


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status)
        self.reply = refusal(status, code, message)


def refusal(status: int, code: str = "", message: str = "") -> Reply:
    """A refusal as the hub words it: `X-Error-Code` and `X-Error-Message`."""
    headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
    return json_reply({"error": message}, status, {name: text for name, text in headers.items() if text})


def too_many(bucket: str, left_s: int) -> Fault:
    """429: the budget of `bucket` is used up for so many seconds."""
    said = {**limits_of(bucket, 0, left_s), "X-Error-Message": "We had to rate limit your IP."}
    return lambda _: json_reply({"error": "We had to rate limit your IP."}, 429, said)


def limits_of(bucket: str, left: int, left_s: int) -> dict[str, str]:
    policy = f'"fixed window";"{bucket}";q={_QUOTAS[bucket]};w={_WINDOW_S}'
    return {"RateLimit": f'"{bucket}";r={left};t={left_s}', "RateLimit-Policy": policy}


class HuggingFaceStandIn(TwoOrigins):
    """Both origins. `_lock` guards every table; answers are sent outside it.

    `calls` counts the hub's requests by what they ask (`info`, `tree`, `refs`, `list`, `resolve`, `paths`) and the
    CDN's (`cdn`); `asked` are all requests to the hub: their method, path and query, and headers. `page_size` bounds a
    page of a tree or a list. `tokens` (token → user) are the credentials that count; `gated` and `private` are ids,
    `readers` the users that see either. `moved` leads from an id to another: names that were given up, and ids without
    a namespace. Knobs: `moves_small` has a file of Git come from another path of the hub, by a redirect (307);
    `serves_lfs` has the hub send files of LFS itself, as a mirror does; `links` leads the pages of a tree to that host;
    `compresses` has answers come in gzip to those who take it.
    """

    def __init__(self, *, page_size: int = _MOST_ON_A_PAGE, url_lives_s: int = _URL_LIVES_S) -> None:
        self.page_size = page_size
        self.moves_small, self.serves_lfs, self.compresses, self.links = False, False, False, ""
        self.tokens: dict[str, str] = {}
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.disabled: set[str] = set()
        self.readers: set[str] = set()
        self.moved: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self.cdn = Cdn(url_lives_s)
        super().__init__("huggingface", self.cdn)
        self._repos: dict[str, Repo] = {}

    # What a test says

    def put(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        branch: str = "main",
        commit: str | None = None,
        lfs: Collection[str] | None = None,
    ) -> str:
        """A new commit of `branch` of a repository: `NS/NAME`, or `datasets/NS/NAME`. Returns the commit.

        `lfs` are the files of LFS; by default those of more than 1 MiB, and weights.
        """
        with self._lock:
            repo = self._repos.setdefault(name, Repo(name))
            made = repo.commit(files, branch, commit, lfs)
            for blob in made.files.values():
                if blob.lfs:
                    self.cdn.put(blob)
        return made.sha

    def forget(self, name: str, commit: str) -> None:
        """A commit is there no longer, as after its branch was squashed."""
        with self._lock:
            del self._repos[name].commits[commit]

    def name_ref(self, name: str, ref: str, commit: str) -> None:
        """A tag, a branch, or a pull request (`refs/tags/v1`, `refs/heads/x`, `refs/pr/1`) of a commit."""
        with self._lock:
            self._repos[name].refs[ref] = commit

    def lie(self, name: str, commit: str, path: str, **said: object) -> None:
        """The tree says of a file what it should not: `size`, `oid`, `path`, `lfs`."""
        with self._lock:
            self._repos[name].commits[commit].lies[path] = said

    def mend(self) -> None:
        """No fault that was scripted happens any more, nothing lies, and nothing is sent wrong."""
        with self._lock:
            self._scripts.clear()
            for repo in self._repos.values():
                repo.rotten.clear()
                for commit in repo.commits.values():
                    commit.lies.clear()
        self.cdn.mend()

    def rot(self, name: str, commit: str, path: str, at: int) -> None:
        """One byte of a file is sent wrong from now on; what the tree says of the file stays right."""
        with self._lock:
            blob = self._repos[name].commits[commit].files[path]
            self._repos[name].rotten[blob.git_sha1] = at
        if blob.lfs:
            self.cdn.rot(blob, at)

    def reset_counts(self) -> None:
        with self._lock:
            self.calls.clear()
            self.asked.clear()
        self.cdn.asked.clear()

    # Two origins

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.cdn.url == f"http://{headers.get('host')}":
            await self.cdn.gate.pass_by(request.url.raw_path, headers)
            reply = self._counted("cdn", self.cdn.answer(request.url.raw_path, request.url.raw_query_string, headers))
            self.cdn.asked.append((request.url.raw_path, headers, reply.status, len(reply.body)))
        else:
            reply = self._from_hub(request, body, headers)
        takes_gzip = "gzip" in headers.get("accept-encoding", "") and "json" in reply.headers.get("Content-Type", "")
        if self.compresses and takes_gzip:
            reply = Reply(reply.status, {**reply.headers, "Content-Encoding": "gzip"}, gzip.compress(reply.body))
        sent = {**reply.headers, "Content-Length": str(len(reply.body))}
        return web.Response(status=reply.status, headers=sent, body=b"" if request.method == "HEAD" else reply.body)

    def _from_hub(self, request: web.BaseRequest, body: bytes, headers: Mapping[str, str]) -> Reply:
        path, query = request.url.raw_path, request.url.raw_query_string
        with self._lock:
            self.asked.append((request.method, f"{path}?{query}" if query else path, headers))
        want = {name: texts[-1] for name, texts in parse_qs(query).items()}
        if request.method == "POST":
            want |= {"paths": json.dumps(parse_qs(body.decode()).get("paths", []))}
        what, reply = "none", refusal(404, "", "Sorry, we can't find the page you are looking for.")
        try:
            with self._lock:
                what, reply = self._answer(path, want, headers)
        except _Refused as refused:
            what, reply = _kind_of(path), refused.reply
        bucket = "resolvers" if what == "resolve" else "api"
        reply = Reply(reply.status, {**limits_of(bucket, 400, 200), **reply.headers}, reply.body)
        return self._counted(what, reply)

    def _counted(self, what: str, reply: Reply) -> Reply:
        with self._lock:
            self.calls[what] += 1
        return self._scripted(what, reply)

    def _answer(self, path: str, want: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, Reply]:
        """What is asked, and the answer. Raises `_Refused`."""
        user = self._user(headers.get("authorization"))
        segments = [unquote(part) for part in path.strip("/").split("/")]
        if segments[0] != "api":
            return "resolve", self._resolve(path, segments, user, headers)
        if segments[1:2] == ["resolve-cache"]:
            return "resolve", self._from_hub_itself(segments[3:], user, headers)
        if len(segments) == len(("api", "models")) and segments[1] in _TYPES:
            return "list", self._list(segments[1], want, user)
        if segments[1:2] and segments[1] in _TYPES:
            return self._of_repo(segments[1], segments[2:], want, user)
        raise _Refused(404, "", "Not found")

    def _of_repo(
        self, kind: str, segments: Sequence[str], want: Mapping[str, str], user: str | None
    ) -> tuple[str, Reply]:
        prefix = "" if kind == "models" else f"{kind}/"
        words = {"revision", "tree", "refs", "paths-info"}
        end = next((at for at, word in enumerate(segments) if word in words), len(segments))
        name = prefix + "/".join(segments[:end])
        if name in self.moved:
            rest = "/".join(quote(part, safe="") for part in segments[end:])
            where = f"/api/{kind}/{self.moved[name].removeprefix(prefix)}"
            asked = f"?{urlencode(want)}" if want else ""
            return "moved", Reply(307, {"Location": f"{where}/{rest}".rstrip("/") + asked})
        repo = self._repo(name, user)
        match segments[end:]:
            case []:
                return "info", json_reply(repo.info(repo.find("main"), want, gated=name in self.gated))
            case ["revision", revision]:
                commit = self._commit(repo, revision)
                return "info", json_reply(repo.info(commit, want, gated=name in self.gated))
            case ["refs"]:
                return "refs", json_reply(repo.refs_told())
            case ["tree", revision, *inner]:
                commit = self._commit(repo, revision)
                told = entries_of(commit, "/".join(inner), recursive=want.get("recursive", "").lower() == "true")
                return "tree", self._page(told, want, f"/api/{kind}/{'/'.join(segments)}")
            case ["paths-info", revision]:
                commit = self._commit(repo, revision)
                told = entries_of(commit, "", recursive=True)
                asked_for = json.loads(want.get("paths", "[]"))
                return "paths", json_reply([entry for entry in told if entry["path"] in asked_for])
        raise _Refused(404, "", "Not found")

    def _page(self, told: list[dict[str, Any]], want: Mapping[str, str], path: str) -> Reply:
        start = int(want.get("cursor", "0"))
        end = start + min(self.page_size, int(want.get("limit", _MOST_ON_A_PAGE)))
        more = {}
        if end < len(told):
            query = urlencode({**want, "cursor": str(end)})
            more = {"Link": f'<{self.links or self.url}{quote(path)}?{query}>; rel="next"'}
        return json_reply(told[start:end], headers=more)

    def _list(self, kind: str, want: Mapping[str, str], user: str | None) -> Reply:
        prefix = "" if kind == "models" else f"{kind}/"
        ids = [
            name.removeprefix(prefix) for name in self._repos if (prefix in name if prefix else name.count("/") == 1)
        ]
        mine = [one for one in ids if one.partition("/")[0] == want.get("author", one.partition("/")[0])]
        words = want.get("search", "").lower()
        found = [one for one in mine if words in one.lower()]
        shown = [one for one in found if prefix + one not in self.private or user in self.readers]
        return self._page([{"id": one, "modelId": one, "likes": 1} for one in shown], want, f"/api/{kind}")

    def _resolve(self, path: str, segments: Sequence[str], user: str | None, headers: Mapping[str, str]) -> Reply:
        end = segments.index("resolve") if "resolve" in segments else 0
        if not end or len(segments) < end + 3:
            raise _Refused(404, "", "Not found")
        name, revision, inner = "/".join(segments[:end]), segments[end + 1], "/".join(segments[end + 2 :])
        if name in self.moved:
            return Reply(307, {"Location": path.replace(quote(name), quote(self.moved[name]), 1)})
        repo = self._repo(name, user)
        commit = self._commit(repo, revision)
        self._may_read(name, user)
        at_commit = {"X-Repo-Commit": commit.sha}
        blob = commit.files.get(inner)
        if blob is None:
            refused = refusal(404, "EntryNotFound", "Entry not found")
            return Reply(404, {**refused.headers, **at_commit}, refused.body)
        if not blob.lfs:
            if self.moves_small:
                where = f"/api/resolve-cache/models/{quote(name)}/{commit.sha}/{quote(inner, safe='')}"
                return Reply(307, {**at_commit, "Location": where, "ETag": f'"{blob.git_sha1}"'})
            return self._content(repo, commit, inner, headers)
        linked = {"X-Linked-Size": str(len(blob.content)), "X-Linked-Etag": f'"{blob.sha256}"'}
        if self.serves_lfs:
            reply = self._content(repo, commit, inner, headers)
            return Reply(reply.status, {**reply.headers, **linked}, reply.body)
        return Reply(302, {**at_commit, **linked, "Location": self.cdn.signed_url(blob)}, b"Found. Redirecting")

    def _from_hub_itself(self, segments: Sequence[str], user: str | None, headers: Mapping[str, str]) -> Reply:
        *name, sha, inner = segments
        self._may_read("/".join(name), user)
        repo = self._repo("/".join(name), user)
        return self._content(repo, repo.commits[sha], inner, headers)

    @staticmethod
    def _content(repo: Repo, commit: Commit, path: str, headers: Mapping[str, str]) -> Reply:
        blob = commit.files[path]
        said = {
            "Content-Type": "text/plain; charset=utf-8",
            "X-Repo-Commit": commit.sha,
            "ETag": f'"{blob.sha256 if blob.lfs else blob.git_sha1}"',
            "Accept-Ranges": "bytes",
        }
        return ranged(blob.sent(repo.rotten.get(blob.git_sha1)), said, headers.get("range"))

    def _user(self, authorization: str | None) -> str | None:
        if authorization is None:
            return None
        user = self.tokens.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise _Refused(401, "", "Invalid credentials in Authorization header")
        return user

    def _repo(self, name: str, user: str | None) -> Repo:
        repo = self._repos.get(name)
        if repo is None or (name in self.private and user not in self.readers):
            raise _Refused(401 if user is None else 404, "RepoNotFound", "Repository not found")
        if name in self.disabled:
            raise _Refused(403, "", "Access to this resource is disabled.")
        return repo

    def _may_read(self, name: str, user: str | None) -> None:
        if name in self.gated and user not in self.readers:
            raise _Refused(401 if user is None else 403, "GatedRepo", f"Access to model {name} is restricted.")

    @staticmethod
    def _commit(repo: Repo, revision: str) -> Commit:
        commit = repo.find(revision)
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


def _kind_of(path: str) -> str:
    """What a refused request asked for."""
    words = {"revision": "info", "tree": "tree", "refs": "refs", "paths-info": "paths", "resolve": "resolve"}
    return next((kind for word, kind in words.items() if f"/{word}" in path), "info")

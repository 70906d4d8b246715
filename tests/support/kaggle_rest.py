"""Kaggle's REST dialect for models, with two items a page, and the store that its signed URLs lead to."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import unquote

from hubfs.model_id import ModelId
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

_API = "/api/v1/models/"
_STORE = "/store/"
_PAGE = 2

Models = Mapping[ModelId, Mapping[str, bytes]]


@dataclass
class KaggleRest:
    """Answers for `models`. `signatures` are those that the store takes; `sizes_bytes`: lies of listings, by path."""

    origin: HttpOrigin
    models: Models
    refuses_lists: bool = False
    stuck_token: str | None = None
    signatures: set[str] = field(default_factory=set)
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def calls(self, word: str) -> int:
        """How many requests had `word` as a part of their path."""
        return sum(f"/{word}" in request.path for request in self.origin.requests)

    def api_calls(self, word: str) -> int:
        """How many requests of the API had `word` as a part of their path."""
        paths = [request.path for request in self.origin.requests]
        return sum(path.startswith(_API) and f"/{word}" in path for path in paths)

    def expire(self) -> None:
        """No signed URL that was given out holds any longer."""
        self.signatures.clear()

    def api(self, request: Request) -> Answer:
        path = unquote(request.path).removeprefix(_API)
        if path == "list":
            return self._paged(request, self._models_of(request.arguments["owner"][0]), "models")
        return self._of_a_variation(request, path)

    def _of_a_variation(self, request: Request, path: str) -> Answer:
        parts = path.split("/")
        name, rest = "/".join(parts[:4]), parts[4:]
        versions = sorted(int(model.version) for model in self.models if model.name == name)
        if not versions:
            return _json({"code": 404, "message": "Not found"}, 404)
        if rest == ["get"]:
            return _json({"slug": parts[3], "versionNumber": versions[-1], "new": {}})
        if rest == ["list"] and self.refuses_lists:
            return _json({"code": 403, "message": "Permission 'models.get' was denied"})  # in a 200
        if rest == ["list"]:
            return self._paged(request, [{"versionNumber": number} for number in versions], "versionList", "versions")
        return self._of_a_version(request, path, self.models.get(ModelId(name, rest[0]), {}), rest)

    def _of_a_version(self, request: Request, path: str, files: Mapping[str, bytes], rest: list[str]) -> Answer:
        if rest[1:] == ["files"]:
            return self._paged(request, [self._described(*item) for item in files.items()], "files")
        signature = f"{next(self._numbers)}"
        self.signatures.add(signature)
        return Answer(302, {"Location": f"{self.origin.url}{_STORE}{path}?X-Goog-Signature={signature}"})

    def store(self, request: Request) -> Answer:
        assert "authorization" not in request.headers
        if request.arguments["X-Goog-Signature"][0] not in self.signatures:
            return Answer(400, {}, b"<Error><Code>ExpiredToken</Code></Error>")
        name, _, rest = unquote(request.path).removeprefix(_STORE).partition("/download/")
        owner, model, framework, variation, version = name.split("/")
        data = self.models[ModelId(f"{owner}/{model}/{framework}/{variation}", version)][rest]
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        return Resource(data, etag=etag, content_type="application/octet-stream")(request)

    def _models_of(self, owner: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for model in self.models:
            of, slug, framework, variation = model.name.split("/")
            if of == owner:
                found.setdefault(slug, {})[model.name] = {"slug": variation, "framework": framework}
        return [{"slug": slug, "instances": [*instances.values()]} for slug, instances in found.items()]

    def _described(self, path: str, data: bytes) -> dict[str, Any]:
        return {"name": path, "size": self.sizes_bytes.get(path, len(data)), "creationDate": "2026-01-02T03:04:05.6Z"}

    def _paged(self, request: Request, items: list[Any], *keys: str) -> Answer:
        start = int(request.arguments.get("pageToken", ["0"])[0])
        body: Any = items[start : start + _PAGE]
        for key in reversed(keys):
            body = {key: body}
        more = start + _PAGE < len(items)
        return _json({**body, "nextPageToken": self.stuck_token or (str(start + _PAGE) if more else "")})


def _json(body: object, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


@contextmanager
def kaggle_rest(models: Models) -> Iterator[KaggleRest]:
    """The host of these models."""
    with HttpOrigin() as origin:
        kaggle = KaggleRest(origin, models)
        origin.route(f"{_API}*", kaggle.api)
        origin.route(f"{_STORE}*", kaggle.store)
        yield kaggle

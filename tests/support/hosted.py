"""Models whose files have URLs of their own, on a real HTTP server."""

import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

PAGE = Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>All models</html>")


def put(origin: HttpOrigin, path: str, query: str, body: bytes, **virtues: object) -> None:
    """Serves `body` at `path` for this query, and a page for every other one."""
    resource = Resource(body, **({"etag": f'"{hash(body)}"'} | virtues))  # type: ignore[arg-type]

    def answer(request: Request) -> Answer:
        return resource(request) if request.query == query else PAGE

    origin.route(quote(path), answer)


def put_tfjs(origin: HttpOrigin, root: str, files: Mapping[str, bytes], **virtues: object) -> None:
    """Hosts the files of a TF.js model below `root`."""
    for path, body in files.items():
        put(origin, f"{root}/{path}", "tfjs-format=file", body, **virtues)


def manifest(*groups: Iterable[object], **more: object) -> bytes:
    """A model.json that names these shards."""
    return json.dumps(
        {"format": "graph-model", "weightsManifest": [{"paths": [*group]} for group in groups], **more}
    ).encode()

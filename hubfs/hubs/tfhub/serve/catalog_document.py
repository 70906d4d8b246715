"""`/catalog.jsonl`: all models of this hub, for clients that list them."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

from aiohttp import hdrs, web

from hubfs.errors import InvalidHandle
from hubfs.hubs.tfhub.names.catalogue import CatalogEntry, CatalogKind
from hubfs.hubs.tfhub.names.file import to_json_lines
from hubfs.hubs.tfhub.names.handle import kind_of
from hubfs.hubs.tfhub.serve.models import ModelDirectory
from hubfs.model_id import ModelId

_MAX_AGE_S = 10
_KINDS = {kind.model_kind: kind for kind in CatalogKind if kind.model_kind is not None}


class CatalogDocument:
    """Replies with the catalogue of `models`, made from the directory each time: what appears there is listed."""

    def __init__(self, models: ModelDirectory) -> None:
        self._models = models

    async def reply(self, request: web.Request) -> web.StreamResponse:
        """200 with JSON Lines, or 304 if the client has them already."""
        text = await asyncio.to_thread(self._text)
        etag = hashlib.sha256(text.encode()).hexdigest()[:32]
        headers = {hdrs.ETAG: f'"{etag}"', hdrs.CACHE_CONTROL: f"max-age={_MAX_AGE_S}"}
        if any(known.value in (etag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(text=text, content_type="application/jsonl", headers=headers)

    def _text(self) -> str:
        return to_json_lines(_entries(self._models.below()))


def _entries(handles: Iterable[ModelId]) -> Iterator[CatalogEntry]:
    for handle in handles:
        with suppress(InvalidHandle):  # files below `<publisher>/collection/`, say, which no client would look up
            yield CatalogEntry(_KINDS[kind_of(handle.name)], str(handle))

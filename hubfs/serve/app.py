"""A small hub host: a directory of models, served by the protocol of TensorFlow Hub."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import hdrs, web

from hubfs.errors import Cancelled, EntryNotFound, HubfsError, InvalidConfig, InvalidHandle, ModelNotFound, NotFound
from hubfs.hub.handle import Handle
from hubfs.serve.archive_response import ArchiveResponse
from hubfs.serve.archives import Archives
from hubfs.serve.listing import list_members, list_packed
from hubfs.serve.models import Model, ModelDirectory
from hubfs.serve.page import HEADERS, error_page, list_page, model_page

_ARCHIVES = web.AppKey("archives", Archives)
_BUCKET = re.compile(r"gs://[a-z\d][\w.-]*(/[^\s?#]*)?", re.ASCII)
_COMPRESSED = "tf-hub-format=compressed"
_UNCOMPRESSED = "tf-hub-format=uncompressed"
_RETRY_AFTER_S = 5


def make_app(directory: Path, *, bucket: str | None = None) -> web.Application:
    """The hub host of the models in `directory`; `bucket` (`gs://bucket/prefix`) has the same models uncompressed.

    Archives of directories live in a temporary folder for as long as the application runs. Raises `InvalidConfig` for
    a directory that is none, and for a bucket that is not one.
    """
    if not directory.is_dir():
        raise InvalidConfig(
            f"{directory} is not a directory: name the one that holds PUBLISHER/NAME/VERSION directories"
        )
    if bucket is not None and not _BUCKET.fullmatch(bucket):
        raise InvalidConfig(f"{bucket!r} is not a bucket: it must read gs://BUCKET or gs://BUCKET/PREFIX")
    models = ModelDirectory(directory.absolute())
    app = web.Application()

    async def life(app: web.Application) -> AsyncIterator[None]:
        with tempfile.TemporaryDirectory(prefix="hubfs-serve-", ignore_cleanup_errors=True) as folder:
            app[_ARCHIVES] = archives = Archives(Path(folder), models.holds)
            yield
            await archives.close()

    async def give_up_builds(app: web.Application) -> None:
        app[_ARCHIVES].cancel()

    app.cleanup_ctx.append(life)
    app.on_shutdown.append(give_up_builds)
    app.router.add_get("/{path:.*}", _Host(models, bucket).reply)
    return app


class _Host:
    """What is replied to a request; knows the protocol, and no file but through its collaborators."""

    def __init__(self, models: ModelDirectory, bucket: str | None) -> None:
        self._models = models
        self._bucket = bucket.rstrip("/") if bucket is not None else None

    async def reply(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._reply(request)
        except (NotFound, InvalidHandle) as error:
            return _refusal(request, 404, "No such model", str(error))
        except Cancelled:
            return _refusal(request, 503, "Not now", "this hub is shutting down")
        except HubfsError as error:
            reply = _refusal(request, 503, "Not now", str(error))
            reply.headers[hdrs.RETRY_AFTER] = str(_RETRY_AFTER_S)
            return reply

    async def _reply(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/").removesuffix("/")
        segments = path.split("/") if path else []
        handle, rest = Handle.split(segments)  # its grammar has no `..` and nothing hidden
        if handle is None:
            return await self._reply_unversioned(request, segments)
        if rest:
            raise EntryNotFound(f"this hub has nothing at {path}: it serves models whole, ask for {handle}")
        model = await asyncio.to_thread(self._models.find, handle)
        asked = _asked(request)
        if asked is None:
            return _page(await asyncio.to_thread(self._describe, model, f"{request.scheme}://{request.host}"))
        if asked == _COMPRESSED:
            return ArchiveResponse(await request.app[_ARCHIVES].archive_of(model))
        if asked != _UNCOMPRESSED:
            raise ModelNotFound(f"this hub has no {asked} of {handle}: ask for {_COMPRESSED}")
        if self._bucket is None:
            raise ModelNotFound(f"this hub has {handle} compressed only (no --bucket): ask for {_COMPRESSED}")
        location = f"{self._bucket}/{handle}"
        return web.Response(status=303, text=location, headers={hdrs.LOCATION: location})

    async def _reply_unversioned(self, request: web.Request, segments: list[str]) -> web.StreamResponse:
        """Sends a model's name to its latest version; shows people what is below any other path."""
        if len(segments) > 1:
            versions = await asyncio.to_thread(self._models.versions, segments[0], "/".join(segments[1:]))
            if versions:
                query = request.rel_url.raw_query_string
                location = f"/{versions[-1]}" + (f"?{query}" if query else "")
                return web.Response(status=302, text=location, headers={hdrs.LOCATION: location})
        if _asked(request) is None:
            below = await asyncio.to_thread(self._models.below, segments)
            if below or not segments:
                return _page(list_page(segments, below))
        raise ModelNotFound(f"this hub has no model {'/'.join(segments) or 'without a name'}")

    def _describe(self, model: Model, hub: str) -> str:
        listing = list_packed(model.path) if model.packed else list_members(model.path, self._models.holds)
        versions = self._models.versions(model.handle.publisher, model.handle.name)
        return model_page(model.handle, versions, listing.members, hub, packed=model.packed)


def _asked(request: web.Request) -> str | None:
    """The protocol's parameter, `tf-hub-format=compressed` for one; None when a person asks."""
    return next((f"{name}={value}" for name, value in request.query.items() if name.endswith("-format")), None)


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", headers=HEADERS)


def _refusal(request: web.Request, status: int, title: str, message: str) -> web.Response:
    if _asked(request) is None:
        return _page(error_page(title, message), status)
    return web.Response(status=status, text=message + "\n")

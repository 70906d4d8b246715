"""A small hub host: a directory of models, served by the protocol of TensorFlow Hub."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from aiohttp import hdrs, web

from hubfs.errors import Cancelled, EntryNotFound, HubfsError, InvalidConfig, InvalidHandle, ModelNotFound, NotFound
from hubfs.formats.index_file import SUFFIX
from hubfs.formats.packing.archive import index_beside
from hubfs.formats.packing.listing import list_packed
from hubfs.hubs.tfhub.names.document import NAME as CATALOG_DOCUMENT
from hubfs.hubs.tfhub.names.handle import Kind, is_version, kind_of
from hubfs.hubs.tfhub.serve.archives import Archives
from hubfs.hubs.tfhub.serve.catalog_document import CatalogDocument
from hubfs.hubs.tfhub.serve.folder import archive_folder
from hubfs.hubs.tfhub.serve.models import WHOLE, Model, ModelDirectory
from hubfs.hubs.tfhub.serve.page import HEADERS, error_page, list_page, model_page
from hubfs.hubs.tfhub.serve.resumable import ResumableFile
from hubfs.model_id import ModelId

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ARCHIVES = web.AppKey("archives", Archives)
_HOST = re.compile(r"([A-Za-z\d_.-]{1,253}|\[[\dA-Fa-f:.]{2,45}\])(:\d{1,5})?", re.ASCII)
_BUCKET = re.compile(r"gs://[a-z\d][\w.-]*(/[^\s?#]*)?", re.ASCII)
_UNCOMPRESSED = "tf-hub-format=uncompressed"
_TFJS_FILE = "tfjs-format=file"
_ARCHIVES_OF = frozenset(whole for whole in WHOLE.values() if whole.endswith("=compressed"))
_ARCHIVE_TYPE = "application/x-gzip"
_FILE_TYPE = "application/octet-stream"
_RETRY_AFTER_S = 5


@dataclass(frozen=True)
class HostSettings:
    """What is served besides the models, and what it may take.

    `bucket` (`gs://bucket/prefix`) has the same models uncompressed. Archives of directories live in a folder below
    `archive_dir` (None: that for temporary files) for as long as the application runs, and take at most
    `archive_size_bytes` (None: half of what is free there). With `hidden`, files of a model whose names begin with a
    dot are served, too.
    """

    bucket: str | None = None
    archive_dir: Path | None = None
    archive_size_bytes: int | None = None
    hidden: bool = False


def make_app(directory: Path, settings: HostSettings = HostSettings()) -> web.Application:
    """The hub host of the models in `directory`.

    Raises `InvalidConfig` for a directory that is none, and for a bucket that is not one.
    """
    bucket = settings.bucket
    if not directory.is_dir():
        raise InvalidConfig(
            f"{directory} is not a directory: name the one that holds PUBLISHER/NAME/VERSION directories"
        )
    if bucket is not None and not _BUCKET.fullmatch(bucket):
        raise InvalidConfig(f"{bucket!r} is not a bucket: it must read gs://BUCKET or gs://BUCKET/PREFIX")
    models = ModelDirectory(directory.absolute(), hidden=settings.hidden)
    app = web.Application(middlewares=[_with_a_host])

    async def life(app: web.Application) -> AsyncIterator[None]:
        with archive_folder(settings.archive_dir or Path(tempfile.gettempdir())) as folder:
            limit_bytes = settings.archive_size_bytes
            if limit_bytes is None:
                limit_bytes = shutil.disk_usage(folder.path()).free // 2
            app[_ARCHIVES] = archives = Archives(folder, models, limit_bytes)
            yield
            await archives.close()

    async def give_up_builds(app: web.Application) -> None:
        app[_ARCHIVES].cancel()

    app.cleanup_ctx.append(life)
    app.on_shutdown.append(give_up_builds)
    app.router.add_get(f"/{CATALOG_DOCUMENT}", CatalogDocument(models).reply)
    app.router.add_get("/{path:.*}", _Host(models, bucket).reply)
    return app


@web.middleware
async def _with_a_host(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """400 for a `Host` that is no host: pages show it in commands, for people to copy (RFC 9112, section 3.2)."""
    if not _HOST.fullmatch(request.headers.get(hdrs.HOST, "localhost")):
        return web.Response(status=400, text="the Host header names no host\n")
    return await handler(request)


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
        asked_index = path.endswith(SUFFIX) and _asked(request) in _ARCHIVES_OF
        path = path.removesuffix(SUFFIX) if asked_index else path
        segments = path.split("/") if path else []
        found = await asyncio.to_thread(self._models.at, segments)  # the grammar has no `..` and nothing hidden
        if found is None and asked_index:
            raise EntryNotFound(f"this hub has no index of {path}: ask for that of a version")
        if found is None:
            return await self._reply_unversioned(request, segments)
        model, rest = found
        if rest:
            return await self._reply_file(request, model, rest)
        asked = _asked(request)
        if asked is None:
            return _page(await asyncio.to_thread(self._describe, model, f"{request.scheme}://{_host_of(request)}"))
        if asked == WHOLE[kind_of(model.handle.name)]:
            return await self._reply_whole(request, model, asked, asked_index=asked_index)
        return self._reply_uncompressed(asked, model.handle)

    async def _reply_whole(
        self, request: web.Request, model: Model, asked: str, *, asked_index: bool
    ) -> web.StreamResponse:
        """Sends the archive, or its index, while it is lent: meanwhile no other archive takes its room."""
        async with request.app[_ARCHIVES].lent(model) as whole:
            index = await asyncio.to_thread(self._index_of, whole, model)
            if asked_index and index is None:
                raise EntryNotFound(f"this hub has no index of {model.handle}: `hubfs index` makes one")
            if asked_index and index is not None:
                reply = ResumableFile(index, _FILE_TYPE)
            else:
                reply = ResumableFile(whole, _ARCHIVE_TYPE if whole.suffix == ".gz" else _FILE_TYPE)
                if index is not None:
                    # Relative to the archive's URL, which a proxy may have put somewhere else.
                    place = f"{'../' * request.path.endswith('/')}{model.handle.version}{SUFFIX}?{asked}"
                    reply.headers[hdrs.LINK] = f'<{place}>; rel="hubfs-index"'
            await reply.prepare(request)
            return reply

    def _index_of(self, whole: Path, model: Model) -> Path | None:
        """The index beside an archive, which was built with it, or put there. It may be of another: clients check."""
        index = index_beside(whole)
        return index if index.is_file() and (not model.packed or self._models.holds(index)) else None

    def _reply_uncompressed(self, asked: str, handle: ModelId) -> web.StreamResponse:
        whole = WHOLE[kind_of(handle.name)]
        if asked != _UNCOMPRESSED or kind_of(handle.name) is not Kind.MODEL:
            raise ModelNotFound(f"this hub has no {asked} of {handle}: ask for {whole}")
        if self._bucket is None:
            raise ModelNotFound(f"this hub has {handle} compressed only (no --bucket): ask for {whole}")
        location = f"{self._bucket}/{handle}"
        return web.Response(status=303, text=location, headers={hdrs.LOCATION: location})

    async def _reply_file(self, request: web.Request, model: Model, rest: Sequence[str]) -> web.StreamResponse:
        """A file of a TF.js model, the one kind whose files have URLs of their own."""
        handle, inside = model.handle, "/".join(rest)
        if kind_of(handle.name) is not Kind.TFJS:
            raise EntryNotFound(f"this hub has nothing at {handle}/{inside}: it serves such models whole")
        if _asked(request) != _TFJS_FILE:
            raise EntryNotFound(f"this hub has nothing at {handle}/{inside} but files: ask for {_TFJS_FILE}")
        path = await asyncio.to_thread(self._models.file, model, rest)
        return ResumableFile(path, "application/json" if path.suffix == ".json" else _FILE_TYPE)

    async def _reply_unversioned(self, request: web.Request, segments: list[str]) -> web.StreamResponse:
        """Sends a model's name to its latest version; shows people what is below any other path."""
        # The path of a TF.js model's file follows the name, and nothing tells where that ends but its versions.
        shortest = 2 if _asked(request) == _TFJS_FILE else max(2, len(segments))
        for end in range(len(segments), shortest - 1, -1):
            if end < len(segments) and is_version(segments[end]):
                break  # a version that is not here, and not a file of the latest one
            versions = await asyncio.to_thread(self._models.versions, "/".join(segments[:end]))
            if versions:
                query = request.rel_url.raw_query_string
                path = "/".join([str(versions[-1]), *map(quote, segments[end:])])
                location = f"/{path}" + (f"?{query}" if query else "")
                return web.Response(status=302, text=location, headers={hdrs.LOCATION: location})
        if _asked(request) is None:
            below = await asyncio.to_thread(self._models.below, segments)
            if below or not segments:
                return _page(list_page(segments, below))
        raise ModelNotFound(f"this hub has no model {'/'.join(segments) or 'without a name'}")

    def _describe(self, model: Model, hub: str) -> str:
        listing = list_packed(model.path) if model.packed else self._models.listing(model)
        versions = self._models.versions(model.handle.name)
        return model_page(model.handle, versions, listing.members, hub, packed=model.packed)


def _host_of(request: web.Request) -> str:
    """How the reader reached this host; its own address for a client of HTTP/1.0, which need not say."""
    named = request.headers.get(hdrs.HOST)
    if named:
        return named
    address, port = (request.get_extra_info("sockname") or ("localhost", 80))[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _asked(request: web.Request) -> str | None:
    """The protocol's parameter, `tf-hub-format=compressed` for one; None when a person asks."""
    return next((f"{name}={value}" for name, value in request.query.items() if name.endswith("-format")), None)


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", headers=HEADERS)


def _refusal(request: web.Request, status: int, title: str, message: str) -> web.Response:
    if _asked(request) is None:
        return _page(error_page(title, message), status)
    return web.Response(status=status, text=message + "\n")

"""A reply that sends a file, or the part of it that a client lacks."""

import re
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

_ONE_RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)", re.ASCII)
_CONDITIONS: Final = (hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE, hdrs.IF_UNMODIFIED_SINCE)


class ResumableFile(web.FileResponse):
    """aiohttp's FileResponse (sendfile, ETag, conditions, ranges), made safe to resume from.

    FileResponse takes an ETag in If-Range for no condition at all, and so would mix the bytes of two files. It also
    replies 416 to several ranges at once, honours a Range of HEAD, and sends a neighbouring `.br` instead where one
    exists. Here If-Range holds for ETags too, one range of GET is honoured, every other gets the whole, and the file
    is sent as it is.
    """

    def __init__(self, path: Path, content_type: str) -> None:
        super().__init__(path, headers={hdrs.CONTENT_TYPE: content_type})
        self._file = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Sends the headers and the bytes. Called by aiohttp once more for a reply that was sent: that does nothing."""
        if self.prepared:
            return await web.StreamResponse.prepare(self, request)
        wanted = (*_CONDITIONS, hdrs.RANGE, hdrs.IF_RANGE) if self._honours_range(request) else _CONDITIONS
        # `clone` cannot carry what is not UTF-8; no condition that we could meet is other than ASCII.
        headers = {name: value for name in wanted if (value := request.headers.get(name)) and value.isascii()}
        return await super().prepare(request.clone(headers=headers))

    def _honours_range(self, request: web.BaseRequest) -> bool:
        if request.method != hdrs.METH_GET or not _ONE_RANGE.fullmatch(request.headers.get(hdrs.RANGE, "")):
            return False
        validator = request.headers.get(hdrs.IF_RANGE)
        # A date is left to FileResponse; what is neither a date nor this file's ETag means another file.
        return validator is None or request.if_range is not None or validator == self._current_etag()

    def _current_etag(self) -> str | None:
        """The ETag as FileResponse makes it."""
        try:
            status = self._file.stat()
        except OSError:
            return None
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'

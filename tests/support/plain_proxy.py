"""A proxy for hosts of http://, which notes what it is told, and passes on nothing of it."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_PASSED_ON = ("range", "if-range", "authorization", "accept-encoding")


class PlainProxy:
    """`url` is what `HTTP_PROXY` would name; `told` are the URLs that were asked for, with the headers.

    The hosts of `places` are elsewhere: `host:port` by name.
    """

    def __init__(self) -> None:
        self.url = ""
        self.told: list[tuple[str, dict[str, str]]] = []
        self.places: dict[str, str] = {}


@contextmanager
def plain_proxy() -> Iterator[PlainProxy]:
    proxy = PlainProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            proxy.told.append((self.path, headers))
            there = http.client.HTTPConnection(proxy.places.get(url.netloc, url.netloc), timeout=60)
            with closing(there):
                passed = {name: value for name, value in headers.items() if name in _PASSED_ON}
                there.request("GET", f"{url.path}?{url.query}".rstrip("?"), headers={"Host": url.netloc, **passed})
                reply = there.getresponse()
                body = reply.read()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, args=(0.02,), name="proxy")
        serving.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            serving.join()

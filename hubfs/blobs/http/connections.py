"""Connections to HTTP hosts that a cancel can shut down, and that lead no further inside than they may."""

import socket
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from string import ascii_letters, digits
from typing import Any, cast

import requests.adapters
from urllib3 import BaseHTTPResponse, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ClosedPoolError
from urllib3.util import parse_url

from hubfs.blobs.http.connect import Staggered
from hubfs.blobs.http.reach import Reach, reach_of
from hubfs.blobs.http.reply import BoundedConnection, KeepingPool, shut_down
from hubfs.blobs.http.url import at_path, origin_of
from hubfs.blobs.retry import Permanent
from hubfs.waiting import Cancellation

_POOL_SIZE = 64
_ONCE = Retry(total=False, redirect=False)
_SCHEMES = ("http", "https")
_IN_HOSTS = frozenset(f"{ascii_letters}{digits}-._:[]%")
"""What names and addresses are written in. IDNA has other letters in these, too."""
_IN_ROOTS = _IN_HOSTS | {"/"}
_PLAIN = frozenset(f"{ascii_letters}{digits}-._~/?=&")
"""A path and a query of these are asked for as they are, but for segments that begin with a dot."""

Meet = Callable[[str, int, str], None]
"""Told of each connection before a byte goes over it: the host, the port, and the address it led to. May refuse it."""


class OpenSockets:
    """The open sockets of one client, so that a cancel ends what waits for them.

    `_lock` guards `_open` and is held for no call that could block.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def watch(self, connected: object) -> None:
        """Takes a socket that was just connected. Raises `Cancelled` if that came too late for the cancel."""
        # TLS through a TLS proxy is not a socket; there the stall time-out ends a read.
        if isinstance(connected, socket.socket):
            with self._lock:
                self._open.add(connected)
        self._cancellation.check()

    def shut_down(self) -> None:
        """Ends every read and write, in whichever thread; never blocks."""
        with self._lock:
            sockets = list(self._open)
        for each in sockets:
            shut_down(each)


class Peers:
    """How far inside hosts were found to be. `_lock` guards `_met`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: dict[tuple[str | None, int | None], Reach] = {}

    def reach(self, host: str | None, port: int | None) -> Reach:
        """Of all the addresses that the host was met at, the furthest out: names may change where they lead.

        That of a host which was never met (behind a proxy, that is the proxy's affair) is `PUBLIC`.
        """
        with self._lock:
            return self._met.get((host, port), Reach.PUBLIC)

    def meet(self, host: str, port: int, address: str, limit: Reach) -> None:
        """Notes the reach of a host. Raises `Permanent` for one that is further inside than `limit`."""
        reach = reach_of(address)
        if reach > limit:
            way_out = "; if the models of your hub are kept there, set HUBFS_PRIVATE_REDIRECTS=true"
            raise Permanent(
                f"{host}:{port} is at the {reach} address {address}, and a redirect led there from a host that is not: "
                f"refused{way_out if reach <= Reach.LOOPBACK else ''}"
            )
        with self._lock:
            self._met[host, port] = min(reach, self._met.get((host, port), reach))


@dataclass(frozen=True, slots=True)
class Target:
    """A URL as it is asked for: the `root` of the host (`https://example.com`), and what follows it, which is encoded.

    Userinfo and fragment, which no host is asked for, are in neither.
    """

    root: str
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Raises `ValueError` for a text that is no http(s) URL, or that two programs may read differently."""
        root, path = at_path(url)
        if path and _PLAIN.issuperset(path) and "/." not in path and _IN_ROOTS.issuperset(root):
            return cls(_parsed_root(f"{root}/").root, path)  # the parser takes as long as a tenth of a question
        return _parsed(url)


def _parsed(url: str) -> Target:
    parsed = parse_url(url)
    host = parsed.host
    if parsed.scheme not in _SCHEMES or not host or host.startswith(".") or not _IN_HOSTS.issuperset(host):
        raise ValueError("not an http(s) URL")
    target = Target(f"{parsed.scheme}://{parsed.netloc}", parsed.request_uri)
    if url.isascii() and origin_of(target.root) != origin_of(url):
        raise ValueError("two readings of one URL")  # headers were chosen for one, and would go to the other
    return target


_parsed_root = lru_cache(_POOL_SIZE)(_parsed)


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """Pools of connections that tell `sockets` and `meet` about themselves; those to a proxy, `sockets` only.

    Finds the pool of a host as requests does, by proxies and authorities of the `environment`, once; a request itself
    is urllib3's alone: what requests adds to it takes as long as the rest.
    """

    def __init__(
        self,
        sockets: OpenSockets,
        meet: Meet,
        environment: Callable[[str], Mapping[str, Any]],
        proxy_headers: Mapping[str, str],
    ) -> None:
        self._environment = environment
        self._proxy_headers = proxy_headers
        self._is_closed = False
        self._routes = lru_cache(_POOL_SIZE)(self._route)
        self._direct, self._to_proxy = _pool_classes(sockets, meet), _pool_classes(sockets, lambda *_: None)
        super().__init__(pool_connections=_POOL_SIZE, pool_maxsize=_POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As in requests, with connections of ours."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._direct

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """What a proxy is told: with each request for http://, and once a tunnel for https://, before it begins.

        Nothing of it goes into a tunnel, where a host would read it.
        """
        return {**super().proxy_headers(proxy), **self._proxy_headers}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """As in requests, with connections of ours, except through SOCKS, which brings its own."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._to_proxy
        return manager

    def ask(
        self, method: str, target: Target, headers: dict[str, str], body: bytes | BytesIO | None, timeout: Timeout
    ) -> BaseHTTPResponse:
        """The reply to one request, of any status, before its body is read.

        Raises exceptions of urllib3 and requests, `OSError`, and `ValueError` for what no request can have.
        """
        for again in (True, False):
            pool, by_whole_urls = self._routes(target.root)
            try:
                return pool.urlopen(
                    method,
                    f"{target.root}{target.path}" if by_whole_urls else target.path,
                    body,
                    headers,
                    retries=_ONCE,
                    redirect=False,
                    assert_same_host=False,
                    timeout=timeout,
                    preload_content=False,
                    decode_content=False,
                )
            except ClosedPoolError:  # of more hosts than are kept, it was the one to give way
                if not again:
                    raise
                self._routes.cache_clear()
        raise AssertionError("unreachable")

    def connect(self, root: str, timeout_s: float) -> None:
        """Makes one more connection to a host, for a request to come. None where a proxy is asked instead.

        Raises as `ask` does.
        """
        pool, _ = self._routes(root)
        if pool.proxy is None:
            connection = self._unconnected(pool)
            connection.timeout = timeout_s
            try:
                connection.connect()
                connection.is_kept()
            finally:
                self._put_back(pool, [connection])  # one that failed connects anew when it is used

    def _unconnected(self, pool: HTTPConnectionPool) -> Any:
        """A connection of the pool that is not made yet: those that are come before it."""
        idle: list[Any] = []
        try:
            while (connection := pool._get_conn()).sock is not None:  # type: ignore[attr-defined] # noqa: SLF001 - urllib3 connects when it asks, and in no other way
                idle.append(connection)
            return connection
        finally:
            self._put_back(pool, idle)

    def _put_back(self, pool: HTTPConnectionPool, connections: Sequence[Any]) -> None:
        """Gives connections back to the pool; closes them if the adapter was closed meanwhile: nobody else would."""
        for each in connections:
            pool._put_conn(each)  # noqa: SLF001 - as above
        if self._is_closed:
            for each in connections:
                each.close()
            self.close()

    def _route(self, root: str) -> tuple[HTTPConnectionPool, bool]:
        """Over which connections a host is asked, and whether by whole URLs, as an http proxy is."""
        found = self._environment(root)
        request = requests.PreparedRequest()
        request.prepare_method("GET")
        request.prepare_url(root, None)
        pool = self.get_connection_with_tls_context(request, found["verify"], found["proxies"], found["cert"])
        self.cert_verify(pool, root, found["verify"], found["cert"])  # type: ignore[no-untyped-call]
        return cast("HTTPConnectionPool", pool), not self.request_url(request, found["proxies"]).startswith("/")

    def close(self) -> None:
        """As in requests, which leaves connections open for as long as anybody knows their pool: a kept error does."""
        self._is_closed = True
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated over otherwise
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


def _pool_classes(sockets: OpenSockets, meet: Meet) -> dict[str, type[HTTPConnectionPool]]:
    def met(connected: socket.socket, host: str, port: int) -> socket.socket:
        try:
            meet(host, port, connected.getpeername()[0])
        except BaseException:
            connected.close()
            raise
        return connected

    class Connection(BoundedConnection, Staggered, HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return met(super()._new_conn(), self.host, self.port)

        def connect(self) -> None:
            super().connect()
            sockets.watch(self.sock)

    class SecureConnection(BoundedConnection, Staggered, HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return met(super()._new_conn(), self.host, self.port)

        def connect(self) -> None:
            super().connect()
            sockets.watch(self.sock)

    class Pool(KeepingPool, HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(KeepingPool, HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}

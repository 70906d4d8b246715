"""nginx as a hub: archives with ranges and ETags, 303 answers for what is in a bucket, every byte counted."""

import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import started

_COMMON = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 512; }}
http {{
    log_format exact '$status $body_bytes_sent $request_method $request_uri';
    access_log {home}/access.log exact;
    client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
    uwsgi_temp_path {home}; scgi_temp_path {home};
    {http}
}}
"""

_FILES = "server {{ listen 127.0.0.1:{port}; root {root}; }}"

_HUB = """
    default_type application/x-gzip;
    limit_rate {bytes_per_s};
    # $arg_NAME cannot name an argument with a hyphen.
    map $args $suffix {{
        default                      .html;
        tf-hub-format=compressed     .tar.gz;
        tf-hub-format=uncompressed   .uncompressed;
        lite-format=tflite           .tflite;
    }}
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location / {{
            {redirects}
            # `return 303 TEXT` would make a Location of the text; the protocol has it in the body.
            error_page 418 =303 @uncompressed;
            if ($suffix = .uncompressed) {{ return 418; }}
            try_files $uri$suffix =404;
        }}
        location @uncompressed {{
            default_type text/plain;
            try_files $uri$suffix =404;
        }}
    }}
"""

_STORE = """
    default_type application/octet-stream;
    map_hash_bucket_size 1024;
    map $uri $hashes {{ {hashes} }}
    server {{
        listen 127.0.0.1:{port};
        root {root};
        add_header x-goog-hash $hashes;
        location /api/ {{ proxy_pass {api}; }}
    }}
"""

_SETTLED = "/-/settled"


@dataclass(frozen=True)
class Request:
    """One line of the access log. `body_bytes` is what was sent of the body."""

    status: int
    body_bytes: int
    method: str
    target: str


@dataclass(frozen=True)
class NginxHub:
    """A running hub; `root`, below `home`, holds `<handle>.tar.gz` and `<handle>.uncompressed`."""

    url: str
    home: Path
    root: Path

    def host_archive(self, handle: str, archive: Path) -> None:
        """Serves `archive` as the compressed form of `handle`, in the place of what was served before."""
        place = self.root / f"{handle}.tar.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(archive)

    def host_file(self, handle: str, data: bytes) -> None:
        """Serves a TF Lite model, in the place of what was served before."""
        place = self.root / f"{handle}.tflite"
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_suffix(".new")
        new.write_bytes(data)
        new.replace(place)

    def host_in_bucket(self, handle: str, bucket_url: str) -> None:
        """Answers the question for the uncompressed form of `handle` with `gs://…`."""
        place = self.root / f"{handle}.uncompressed"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(bucket_url)

    def requests(self) -> list[Request]:
        """Every request that was answered so far."""
        # nginx logs a request after its last byte was sent; it is one process, and has done so once it answers this.
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        with closing(connection):
            connection.request("GET", _SETTLED)
            connection.getresponse().read()
        fields = (line.split(" ", 3) for line in (self.home / "access.log").read_text().splitlines())
        found = [Request(int(status), int(size), method, target) for status, size, method, target in fields]
        return [request for request in found if request.target != _SETTLED]

    def body_bytes(self, handle: str) -> int:
        """How many bytes of bodies were sent of `handle`, in either form."""
        return sum(request.body_bytes for request in self.requests() if request.target.startswith(f"/{handle}?"))


@contextmanager
def nginx_hub(home: Path, *, bytes_per_s: int = 0, versions: int = 0) -> Iterator[NginxHub]:
    """A hub on a free port, its files under `home`. `bytes_per_s` paces each connection; 0 does not.

    Names without a version are redirected to the newest archive of so many `versions`; 0 answers 404.
    """
    root = home / "root"
    root.mkdir(parents=True)
    redirects = " ".join(
        f"if (-f $document_root$uri/{version}.tar.gz) {{ return 302 $uri/{version}?$args; }}"
        for version in range(versions, 0, -1)
    )
    with _running(home, _HUB, root=root, bytes_per_s=bytes_per_s, redirects=redirects) as url:
        yield NginxHub(url, home, root)


@contextmanager
def nginx_files(home: Path, root: Path) -> Iterator[str]:
    """The URL of an nginx with its defaults, which serves the files below `root`; its own are in `home`."""
    home.mkdir(parents=True)
    with _running(home, _FILES, root=root) as url:
        yield url


@contextmanager
def nginx_store(home: Path, root: Path, hashes: Mapping[str, str], api: str) -> Iterator[str]:
    """The URL of a store of the files below `root`, with `x-goog-hash` by path, and of the API at `api` below `/api/`.

    As the HTTP proxy of a client it serves the same, whatever host is asked for.
    """
    home.mkdir(parents=True)
    lines = " ".join(f'"{path}" "{value}";' for path, value in hashes.items())
    with _running(home, _STORE, root=root, hashes=lines, api=api) as url:
        yield url


@contextmanager
def _running(home: Path, http: str, **fields: object) -> Iterator[str]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is missing: scripts/test installs it"
    config = home / "nginx.conf"

    def start(port: int) -> subprocess.Popen[bytes]:
        config.write_text(_COMMON.format(home=home, http=http.format(port=port, **fields)))
        return subprocess.Popen(
            [program, "-p", home, "-c", config, "-e", home / "error.log"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    server, port = started(start)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)

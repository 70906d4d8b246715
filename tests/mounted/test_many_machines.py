"""Three machines with networks of their own: a mirror, or a shared cache, fetches for all; one of them is killed."""

import http.client
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.support.archives import gzipped, model_files, tar_of
from tests.support.certificates import self_signed
from tests.support.files import files
from tests.support.http_origin import HttpOrigin, paced
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.mount import Machine, Mount, mounted
from tests.support.paths import ROOT
from tests.support.seaweedfs import BUCKET, seaweedfs
from tests.support.site import SERVERS, Site, site
from tests.support.two_origins import Gate
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.slow]

MACHINES = 3
MIRROR_PORT = 8080
NAME = "BAAI/bge-m3"
HANDLE = "noise/small/1"


@pytest.fixture
def three() -> Iterator[Site]:
    with site(MACHINES) as found:
        yield found


@contextmanager
def mounts_of(
    three: Site, home: Path, hub: str, *options: str, environment: Mapping[str, str]
) -> Iterator[list[Mount]]:
    """The hub on each machine, each with a home of its own."""
    with ExitStack() as stack, ThreadPoolExecutor(MACHINES) as starting:

        def mount_on(number: int) -> Mount:
            settings = {"HUBFS_FUSE_LIBRARY": "session", **environment}
            machine = Machine(home / f"machine{number}", settings, three.wrapper(number))
            return stack.enter_context(mounted(machine, home / f"hub{number}", hub, *options))

        yield list(starting.map(mount_on, range(MACHINES)))


@contextmanager
def mirror(three: Site, home: Path, changes: Mapping[str, str]) -> Iterator[None]:
    """nginx by the conf file of the docs, at the ports that it names; `changes` are other hosts for those of hubs."""
    home.mkdir()
    conf = (ROOT / "docs/scale/nginx.conf").read_text()
    shutil.copy(ROOT / "docs/scale/hubs-slices.conf", home)
    certificate, key = self_signed(home)
    for old, new in {
        "/run/nginx-hubs.pid": f"{home}/nginx.pid",
        "/var/log/nginx/": f"{home}/",
        "/var/cache/nginx/hubs": f"{home}/cache",
        "/etc/nginx/mirror.crt": str(certificate),
        "/etc/nginx/mirror.key": str(key),
        **changes,
    }.items():
        assert old in conf, old
        conf = conf.replace(old, new)
    conf = re.sub(r"proxy_pass https://[^/;]+", "proxy_pass http://127.0.0.1:9", conf)  # there is no name server
    (home / "nginx.conf").write_text(conf)
    command = [str(shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")), "-p", str(home)]
    command += ["-e", f"{home}/hubs-error.log", "-c", str(home / "nginx.conf"), "-g", "daemon off; user root;"]
    server = three.at_servers(lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL))
    try:
        assert eventually(lambda: server.poll() is not None or three.at_servers(answers))
        assert server.poll() is None, (home / "hubs-error.log").read_text()
        yield
    except BaseException:
        print((home / "hubs-error.log").read_text()[-5000:])
        raise
    finally:
        server.terminate()
        server.wait(60)


def answers() -> bool:
    try:
        socket.create_connection((SERVERS, MIRROR_PORT), 5).close()
    except OSError:
        return False
    return True


def status_of(path: str) -> int:
    connection = http.client.HTTPConnection(SERVERS, MIRROR_PORT, timeout=60)
    with closing(connection):
        connection.request("GET", path)
        return connection.getresponse().status


def read_all(mount: Mount, folder: str) -> dict[str, bytes]:
    return files(mount.path / folder)


def test_a_mirror_fetches_once_for_three_machines_of_which_one_is_killed(three: Site, tmp_path: Path) -> None:
    model = {"config.json": b"{}", "model.safetensors": os.urandom(24 << 20)}
    with ExitStack() as stack:
        hub = three.at_servers(lambda: stack.enter_context(HuggingFaceStandIn()))
        hub.put(NAME, model)
        gate = Gate(lambda _, part: part.start >= 12 << 20)  # the second half comes when somebody was killed
        hub.cdn.gate = gate
        stack.callback(gate.open)
        changes = {
            "https://huggingface.co": hub.url,
            "https://$store": "http://$store",
            "^https://([a-z0-9.-]+\\.hf\\.co)": "^(?:http://)([0-9.]+:[0-9]+)",
            "(?<store>[a-z0-9.-]+\\.hf\\.co)": "(?<store>[0-9.]+:[0-9]+)",
            "Host huggingface.co": f"Host {hub.url.removeprefix('http://')}",
        }
        stack.enter_context(mirror(three, tmp_path / "mirror", changes))
        environment = {"HF_ENDPOINT": f"http://{SERVERS}:{MIRROR_PORT}"}
        mounts = stack.enter_context(mounts_of(three, tmp_path, "hf:", environment=environment))
        for path in ("/-/elsewhere.example/x", "/-/huggingface.co.example/x"):
            assert three.at_servers(lambda path=path: status_of(path)) == 404, "the mirror leads to stores alone"
        with ThreadPoolExecutor(MACHINES) as readers:
            reads = [readers.submit(read_all, mount, NAME) for mount in mounts]
            assert gate.wait()
            mounts[0].kill()
            with pytest.raises(OSError):  # noqa: PT011 - of the dead mount alone
                reads[0].result(60)
            gate.open()
            for read in reads[1:]:
                assert read.result(120) == model
        ratio = hub.cdn.body_bytes / len(model["model.safetensors"])
        print(f"origin bytes / model bytes through the mirror: {ratio:.4f}")
        assert ratio <= 1.05


def test_a_shared_cache_on_seaweedfs_fetches_once_for_three_machines_and_survives_its_lease_holder(
    three: Site, tmp_path: Path
) -> None:
    model = model_files(variables_bytes=12 << 20)
    archive = gzipped(tar_of(model))
    first, second = f"/{HANDLE}", "/noise/small/2"
    with ExitStack() as stack:
        hub = three.at_servers(lambda: stack.enter_context(HttpOrigin(address=SERVERS)))
        for path in (first, second):
            hub.put(path, archive, etag='"1"')
        store = three.at_servers(lambda: stack.enter_context(seaweedfs(tmp_path / "seaweedfs", SERVERS)))
        environment = {**store.environment, "TFHUB_CACHE_DIR": f"s3://{BUCKET}/cache"}
        mounts = stack.enter_context(
            mounts_of(three, tmp_path, hub.url, "--format", "compressed", environment=environment)
        )
        with ThreadPoolExecutor(MACHINES) as readers:
            for read in readers.map(lambda mount: read_all(mount, HANDLE), mounts):
                assert read == model
            ratio = hub.body_bytes_sent(first) / len(archive)
            print(f"origin bytes / archive bytes with the shared cache: {ratio:.4f}")
            assert ratio <= 1.05

            hub.always(second, paced(len(archive) / 8))  # a connection
            holder = mounts[0]
            reads = [readers.submit(read_all, holder, second[1:])]
            assert eventually(lambda: hub.body_bytes_sent(second) > 1 << 20), "it streams, and so it has the lease"
            reads += [readers.submit(read_all, mount, second[1:]) for mount in mounts[1:]]
            holder.kill()
            with pytest.raises(OSError):  # noqa: PT011 - of the dead mount alone
                reads[0].result(60)
            sent_bytes = hub.body_bytes_sent(second)
            for read in reads[1:]:
                assert read.result(200) == model
        after = (hub.body_bytes_sent(second) - sent_bytes) / len(archive)
        print(f"origin bytes / archive bytes after the holder of the lease was killed: {after:.4f}")
        assert after <= 1.05

"""olah: a mirror of the Hugging Face Hub, as a process, with the stand-in behind it.

`client_folders` of scripts/_setup.sh installs it. olah 0.5.4 serves what it is asked for, files of LFS among it, out of
a cache of its own; it knows neither lists of a namespace nor the pages of a tree.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.huggingface import HuggingFaceStandIn
from tests.support.servers import started

_FOLDERS = [Path(__file__).parents[2] / ".work" / name for name in ("olah", "huggingface_hub")]
_PROGRAM = """
from olah import constants
constants.WORKER_API_TIMEOUT = constants.HEADER_HOLD_TIMEOUT = 120
from olah.server import cli
cli()
"""
"""A machine that stands still for 20 s is no hub that is out of reach: olah waits for 15 s, and for 5 s."""


@contextmanager
def olah(hub: HuggingFaceStandIn, folder: Path) -> Iterator[str]:
    """The URL of a mirror, which keeps its cache and its log in `folder`."""
    if missing := [str(each) for each in _FOLDERS if not each.is_dir()]:
        raise AssertionError(f"{' and '.join(missing)} are missing: scripts/test installs them")
    folder.mkdir(parents=True)

    def start(port: int) -> "subprocess.Popen[bytes]":
        own = f"127.0.0.1:{port}"
        options = {
            "host": "127.0.0.1",
            "port": port,
            "mirror-netloc": own,
            "mirror-lfs-netloc": own,
            "hf-scheme": "http",
            "hf-netloc": hub.url.partition("//")[2],
            "hf-lfs-netloc": hub.cdn.url.partition("//")[2],
            "metadata-cache-ttl": 0,
            "repos-path": folder / "repos",
            "log-path": folder / "logs",
        }
        said = [f"--{name}={value}" for name, value in options.items()]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, _FOLDERS)),
            "GIT_PYTHON_REFRESH": "quiet",
        }
        with (folder / "output").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *said],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    process, port = started(start)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()

"""The unmodified kagglehub, in a process of its own, against the stand-in for Kaggle.

`newest` speaks the RPC dialect, and knows no other endpoint than http://localhost: the stand-in is its proxy. `rest` is
0.3.13, the last that speaks REST. `client_folders` of scripts/_setup.sh installs both.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.kaggle import KaggleStandIn
from tests.support.programs import ran

DIALECTS = ("newest", "rest")
_CLIENTS = Path(__file__).parents[2] / ".work/kagglehub"
_PROGRAM = """
import json, sys
import kagglehub
handle, path = json.loads(sys.argv[1])
try:
    print(json.dumps({"path": kagglehub.model_download(handle, path=path)}))
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


@dataclass(frozen=True)
class Downloaded:
    """What `model_download` returned, or raised."""

    path: Path | None = None
    error: str = ""
    message: str = ""

    @property
    def files(self) -> dict[str, bytes]:
        if self.path is None:
            raise AssertionError(f"{self.error}: {self.message}")
        return {str(each.relative_to(self.path)): each.read_bytes() for each in self.path.rglob("*") if each.is_file()}


def model_download(
    kaggle: KaggleStandIn,
    dialect: str,
    home: Path,
    handle: str,
    path: str | None = None,
    token: str | None = None,
    cache: Path | None = None,
) -> Downloaded:
    """`home` has the cache, unless `cache` is named: what lies there from an earlier call is found."""
    client = _CLIENTS / dialect
    if not client.is_dir():
        raise AssertionError(f"{client} is missing: scripts/test installs it")
    where = (
        {"KAGGLE_API_ENDPOINT": kaggle.url}
        if dialect == "rest"
        else {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": kaggle.url, "NO_PROXY": ""}
    )
    secret = {} if token is None else {"KAGGLE_API_TOKEN": token}
    folder = {} if cache is None else {"KAGGLEHUB_CACHE": str(cache)}
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(client)}
    environment = {**own, **where, **secret, **folder}
    command = [sys.executable, "-c", _PROGRAM, json.dumps([handle, path])]
    done = ran(command, env=environment, timeout=120)
    if not done.stdout.strip():
        raise AssertionError(done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    return Downloaded(**{**said, "path": Path(said["path"])} if "path" in said else said)

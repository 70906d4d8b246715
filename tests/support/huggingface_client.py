"""The unmodified huggingface_hub, in a process of its own, against the stand-in for the Hugging Face Hub.

`client_folders` of scripts/_setup.sh installs it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.support.huggingface import HuggingFaceStandIn
from tests.support.programs import ran

_CLIENT = Path(__file__).parents[2] / ".work/huggingface_hub"
_PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import huggingface_hub
from huggingface_hub import HfFileSystem, HfApi, hf_hub_download, snapshot_download
from huggingface_hub import _CACHED_NO_EXIST, scan_cache_dir, try_to_load_from_cache

def digest(data):
    return hashlib.sha256(data).hexdigest()

def download(repo, path, **more):
    return digest(Path(hf_hub_download(repo, path, **more)).read_bytes())

def snapshot(repo, **more):
    root = Path(snapshot_download(repo, **more))
    files = [each for each in root.rglob("*") if each.is_file()]
    return [root.name, {each.relative_to(root).as_posix(): digest(each.read_bytes()) for each in files}]

def ls(path):
    return sorted([entry["name"], entry["type"], entry["size"]] for entry in HfFileSystem().ls(path, detail=True))

def read(path, start, size):
    with HfFileSystem().open(path, "rb", block_size=1 << 20) as file:
        file.seek(start)
        return digest(file.read(size))

def refs(repo):
    found = HfApi().list_repo_refs(repo, include_pull_requests=True)
    return {kind: {ref.name: ref.target_commit for ref in getattr(found, kind) or ()}
            for kind in ("branches", "tags", "pull_requests")}

def path(repo, path, **more):
    return hf_hub_download(repo, path, **more)

def cached(repo, path, **more):
    found = try_to_load_from_cache(repo, path, **more)
    return "no such file" if found is _CACHED_NO_EXIST else found

def scan():
    found = scan_cache_dir()
    def told(revision):
        return [sorted(revision.refs), sorted(file.file_name for file in revision.files)]
    repos = {repo.repo_id: {each.commit_hash: told(each) for each in repo.revisions} for repo in found.repos}
    return [repos, [str(warning) for warning in found.warnings], found.size_on_disk]

def models(author):
    return [model.id for model in HfApi().list_models(author=author)]

answers = []
for name, arguments, more in json.loads(sys.argv[1]):
    try:
        answers.append(globals()[name](*arguments, **more))
    except Exception as error:
        answers.append({"error": type(error).__name__})
print(json.dumps(answers))
"""


def calls(
    hub: HuggingFaceStandIn,
    home: Path,
    *wanted: tuple[Any, ...],
    token: str | None = None,
    endpoint: str | None = None,
    **environ: str,
) -> list[Any]:
    """What each of `wanted` (a function of the program, then its arguments) returned, or `{"error": TYPE}`.

    A last argument that is a dict names arguments. `home` has the cache, and `environ` is added to the environment.
    `endpoint`: the URL of a mirror, instead of the hub's.
    """
    if not _CLIENT.is_dir():
        raise AssertionError(f"{_CLIENT} is missing: scripts/test installs it")
    asked = [
        (name, more[:-1], more[-1]) if more and isinstance(more[-1], dict) else (name, more, {})
        for name, *more in wanted
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(_CLIENT),
        "HF_ENDPOINT": endpoint or hub.url,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_ETAG_TIMEOUT": "120",  # a machine that stands still for 20 s is no hub that is out of reach
        "HF_HUB_DOWNLOAD_TIMEOUT": "120",
        **({} if token is None else {"HF_TOKEN": token}),
        **environ,
    }
    command = [sys.executable, "-c", _PROGRAM, json.dumps(asked)]
    done = ran(command, env=environment, timeout=240)
    if not done.stdout.strip():
        raise AssertionError(done.stderr)
    return list(json.loads(done.stdout.splitlines()[-1]))

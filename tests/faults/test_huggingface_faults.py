"""The table "fault of Hugging Face" of docs/SEMANTICS.md, executed: the stand-in for the hub, a real mount, readers."""

import errno
import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.fault_rows import is_told, read, reads, table
from tests.support.figures import Figures
from tests.support.huggingface import HuggingFaceStandIn, refusal, too_many
from tests.support.kaggle_replies import Fault, Reply, instead, json_reply
from tests.support.mount import Machine, Mount, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

SLACK_S = 60.0
"""Beyond its bound, a reader on a busy machine may take so much longer before it counts as hung."""

SMALL, LARGE = "config.json", "model.safetensors"
HEAD = "| fault of Hugging Face | readers get | within |"


@dataclass
class Stage:
    """A repository, and its commit. `begun` is called by each reader of `paths` once it has read a piece."""

    hub: HuggingFaceStandIn
    name: str
    commit: str
    right: dict[str, bytes]
    begun: Callable[[], None] = field(default=lambda: None)
    paths: tuple[str, ...] = (SMALL, LARGE, LARGE, SMALL)

    def always(self, what: str, fault: Fault) -> None:
        self.hub.script(what, *[fault] * 500)

    def once_begun(self, do: Callable[[], object]) -> None:
        first = threading.Lock()

        def begun() -> None:
            if first.acquire(blocking=False):
                do()

        self.begun = begun


Case = Callable[[Stage], None]


def _always(what: str, fault: Fault) -> Case:
    return lambda stage: stage.always(what, fault)


def _scripted(what: str, *faults: Fault) -> Case:
    return lambda stage: stage.hub.script(what, *faults)


def _busy(stage: Stage) -> None:
    stage.hub.script("tree", too_many("api", 1))
    stage.hub.script("resolve", too_many("resolvers", 1))


def _other_hashes(stage: Stage) -> None:
    size_bytes = len(stage.right[LARGE])
    stage.hub.lie(stage.name, stage.commit, SMALL, oid="ab" * 20)
    stage.hub.lie(stage.name, stage.commit, LARGE, lfs={"oid": "ab" * 32, "size": size_bytes})


def _other_sizes(stage: Stage) -> None:
    size_bytes, sha256 = len(stage.right[LARGE]) - 1, hashlib.sha256(stage.right[LARGE]).hexdigest()
    stage.hub.lie(stage.name, stage.commit, SMALL, size=len(stage.right[SMALL]) - 1)
    stage.hub.lie(stage.name, stage.commit, LARGE, size=size_bytes, lfs={"oid": sha256, "size": size_bytes})


def _rots(stage: Stage) -> None:
    for path, data in stage.right.items():
        stage.hub.rot(stage.name, stage.commit, path, len(data) // 2)


def _cdn_refuses(stage: Stage) -> None:
    stage.paths = (LARGE,) * 4  # the small file is in Git
    stage.always("cdn", instead(Reply(403, {}, b"<Error/>")))


def _circle(reply: Reply) -> Reply:
    link = '<https://huggingface.co/api/models/x?recursive=true&expand=false&limit=1000>; rel="next"'
    return Reply(reply.status, {**reply.headers, "Link": link}, reply.body)


_PAGE = instead(Reply(200, {"Content-Type": "text/html"}, b"<!doctype html><html><body>Please log in.</body></html>"))
_BROKEN = instead(refusal(500, "", "Internal Error"))
_OUTSIDE = {"type": "file", "path": "../a", "size": 1, "oid": "ab" * 20}

CASES: dict[str, Case] = {
    "429, of the tree and of files": _busy,
    "a signed URL that expires in mid-read": lambda stage: stage.once_begun(stage.hub.cdn.forget_urls),
    "the CDN refuses every signed URL": _cdn_refuses,
    "the branch moves in mid-read": lambda stage: stage.once_begun(
        lambda: stage.hub.put(stage.name, dict.fromkeys(stage.right, b"moved"))
    ),
    "a flipped bit": _rots,
    "a page of HTML in the place of the tree": _always("tree", _PAGE),
    "a page of HTML in the place of every file": _always("resolve", _PAGE),
    "the tree says other hashes": _other_hashes,
    "the tree says other sizes": _other_sizes,
    "the tree names a file outside of the model": _always("tree", instead(json_reply([_OUTSIDE]))),
    "the pages of the tree lead in a circle": _always("tree", _circle),
    "a file that is listed and not there": _always(
        "resolve", instead(refusal(404, "EntryNotFound", "Entry not found"))
    ),
    "the repository is gated": lambda stage: stage.hub.gated.add(stage.name),
    "the repository is not there": lambda stage: stage.hub.private.add(stage.name),
    "a fault of the hub's, twice": _scripted("tree", _BROKEN, _BROKEN),
    "a fault of the hub's, every time": _always("tree", _BROKEN),
}


@pytest.fixture(scope="module")
def every_hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        yield hub


@pytest.fixture
def hub(every_hub: HuggingFaceStandIn) -> Iterator[HuggingFaceStandIn]:
    yield every_hub
    mend(every_hub)


def mend(hub: HuggingFaceStandIn) -> None:
    hub.mend()
    hub.gated.clear()
    hub.private.clear()


@pytest.fixture(scope="module")
def mount(every_hub: HuggingFaceStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    root = tmp_path_factory.mktemp("huggingface-faults")
    ttls = {"HUBFS_NEGATIVE_TTL": "0.5s", "HUBFS_FAILURE_TTL": "0.5s", "HUBFS_FUSE_LIBRARY": "session"}
    machine = Machine(root / "machine", {"HF_ENDPOINT": every_hub.url, **ttls})
    with mounted(machine, root / "hub", "hf:", "-o", "negative_timeout=0") as mount:
        yield mount


def test_the_table_has_every_fault_once_and_no_other() -> None:
    assert sorted(table(HEAD)) == sorted(CASES)


@pytest.mark.parametrize("fault", CASES)
def test_a_reader_gets_what_the_table_says(hub: HuggingFaceStandIn, mount: Mount, fault: str, figures: Figures) -> None:
    expected, within_s = table(HEAD)[fault]
    noise = random.Random(fault)
    right = {SMALL: noise.randbytes(999), LARGE: noise.randbytes(5_200_000)}
    name = f"noise/row{[*CASES].index(fault)}"
    stage = Stage(hub, name, hub.put(name, right), right)
    CASES[fault](stage)
    root = mount.path / name
    if fault != "the branch moves in mid-read":  # else by the symlink, as loaders do
        root = mount.path / f"{name}@{stage.commit}"
    began_s = time.monotonic()
    with ThreadPoolExecutor(4) as readers:
        opened = Path(os.path.realpath(root))
        got = [*zip(stage.paths, readers.map(lambda path: read(opened / path, stage.begun), stage.paths), strict=True)]
    took_s = time.monotonic() - began_s
    told = expected == "right bytes" or is_told(mount, root, stage.paths)
    mend(hub)
    codes = {answer for _, answer in got if isinstance(answer, int)}
    named = {f"errors_{errno.errorcode[code]}": 1 for code in codes}
    figures.add("huggingface faults", injected=1, reads=len(got), **named)
    if expected == "right bytes":
        assert all(answer == right[path] for path, answer in got), codes
    else:
        assert {errno.errorcode[code] for code in codes} == {expected}
        assert len([answer for _, answer in got if isinstance(answer, int)]) == len(got), "wrong bytes"
    assert told
    assert took_s < within_s + SLACK_S
    assert eventually(lambda: reads(mount.path / f"{name}@{stage.commit}", right), timeout_s=SLACK_S), (
        "the path did not work again"
    )

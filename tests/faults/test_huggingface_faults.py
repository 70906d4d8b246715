"""The table "fault of Hugging Face" of docs/SEMANTICS.md, executed: the stand-in for the hub, a real mount, readers."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support import fault_rows
from tests.support.fault_rows import SMALL, Case, always, execute, impatient_mount, noise, scripted, table
from tests.support.figures import Figures
from tests.support.huggingface import HuggingFaceStandIn, refusal, too_many
from tests.support.kaggle_replies import Reply, instead, json_reply
from tests.support.mount import Mount

pytestmark = pytest.mark.mounted

LARGE = "model.safetensors"
HEAD = "| fault of Hugging Face | readers get | within |"


@dataclass
class Stage(fault_rows.Stage):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.commit = self.hub.put(self.name, self.right)


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
    "a page of HTML in the place of the tree": always("tree", _PAGE),
    "a page of HTML in the place of every file": always("resolve", _PAGE),
    "the tree says other hashes": _other_hashes,
    "the tree says other sizes": _other_sizes,
    "the tree names a file outside of the model": always("tree", instead(json_reply([_OUTSIDE]))),
    "the pages of the tree lead in a circle": always("tree", _circle),
    "a file that is listed and not there": always("resolve", instead(refusal(404, "EntryNotFound", "Entry not found"))),
    "the repository is gated": lambda stage: stage.hub.gated.add(stage.name),
    "the repository is not there": lambda stage: stage.hub.private.add(stage.name),
    "a fault of the hub's, twice": scripted("tree", _BROKEN, _BROKEN),
    "a fault of the hub's, every time": always("tree", _BROKEN),
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
    with impatient_mount(root, "hf:", {"HF_ENDPOINT": every_hub.url}) as mount:
        yield mount


def test_the_table_has_every_fault_once_and_no_other() -> None:
    assert sorted(table(HEAD)) == sorted(CASES)


@pytest.mark.parametrize("fault", CASES)
def test_a_reader_gets_what_the_table_says(hub: HuggingFaceStandIn, mount: Mount, fault: str, figures: Figures) -> None:
    name = f"noise/row{[*CASES].index(fault)}"
    stage = Stage(hub, name, noise(fault, LARGE))
    root = mount.path / f"{name}@{stage.commit}"
    if fault == "the branch moves in mid-read":  # by the symlink, as loaders do
        root = Path(os.path.realpath(mount.path / name))
    CASES[fault](stage)
    count = partial(figures.add, "huggingface faults")
    execute(table(HEAD)[fault], stage, mount, root, partial(mend, hub), count)

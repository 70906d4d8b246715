"""The table "fault of Kaggle" of docs/SEMANTICS.md, executed: the stand-in for Kaggle, a real mount, readers."""

import errno
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.support.fault_rows import is_told, read, reads, table
from tests.support.figures import Figures
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import (
    Fault,
    Reply,
    error_in_a_200,
    instead,
    json_reply,
    refusal,
    too_many,
    zipped,
)
from tests.support.mount import Machine, Mount, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

SLACK_S = 60.0
"""Beyond its bound, a reader on a busy machine may take so much longer before it counts as hung."""

LIST, DOWNLOAD, STORE = "ListModelInstanceVersionFiles", "DownloadModelInstanceVersion", "store"
SMALL, LARGE = "config.json", "model.weights.h5"
HEAD = "| fault of Kaggle | readers get | within |"


@dataclass
class Stage:
    """A model at Kaggle. `right` are the bytes that it has, `expected` those that readers are to get of the fault."""

    kaggle: KaggleStandIn
    handle: str
    right: dict[str, bytes]
    expected: Mapping[str, bytes] = field(default_factory=dict)
    expire: Callable[[], None] = lambda: None

    def put(self, **lies: object) -> None:
        self.kaggle.put(self.handle, self.right, **lies)  # type: ignore[arg-type]

    def always(self, method: str, *faults: Fault) -> None:
        self.kaggle.script(method, *(faults * 500))


Case = Callable[[Stage], None]


def _scripted(method: str, *faults: Fault) -> Case:
    return lambda stage: stage.kaggle.script(method, *faults)


def _always(method: str, fault: Fault) -> Case:
    return lambda stage: stage.always(method, fault)


def _listed(size_of: Callable[[int], int]) -> Case:
    return lambda stage: stage.put(listed={name: size_of(len(data)) for name, data in stage.right.items()})


def _stored(stage: Stage) -> None:
    stage.put(stored={name: zipped(name, data) for name, data in stage.right.items()})


def _zip_as_listed(stage: Stage) -> None:
    zips = {name: zipped(name, data) for name, data in stage.right.items()}
    stage.expected = zips
    stage.put(stored=zips, listed={name: len(data) for name, data in zips.items()})


def _zip_for_the_archive(stage: Stage) -> None:
    stage.right.update({f"assets/{number}": b"%d" % number for number in range(40)})
    stage.put(archive=zipped(SMALL, stage.right[SMALL]))


def _busy(stage: Stage) -> None:
    stage.kaggle.script(LIST, too_many(1), too_many(1))
    stage.kaggle.script(DOWNLOAD, too_many(1))


def _expires(stage: Stage) -> None:
    first = threading.Lock()

    def expire() -> None:
        if first.acquire(blocking=False):
            stage.kaggle.store.forget_urls()

    stage.expire = expire


def _repeats(stage: Stage) -> None:
    stage.kaggle.repeats_token = True


def _rots(stage: Stage) -> None:
    for name, data in stage.right.items():
        stage.kaggle.store.rot(stage.kaggle.object_of(stage.handle, name), len(data) // 2)


def _files(*items: Mapping[str, object]) -> Fault:
    return instead(json_reply({"files": items, "nextPageToken": ""}))


_PAGE = instead(Reply(200, {"Content-Type": "text/html"}, b"<!doctype html><html><body>Please log in.</body></html>"))
_BROKEN = error_in_a_200(500, "Internal error")

CASES: Mapping[str, Case] = {
    "429 with Retry-After, of the list and of the download": _busy,
    "a signed URL that expires in mid-read": _expires,
    "the store refuses every signed URL": _always(STORE, instead(refusal(403, "SignatureDoesNotMatch"))),
    "an error in a 200: there is no such model": _always(LIST, error_in_a_200(404, "Not found")),
    "an error in a 200: the file is refused": _always(DOWNLOAD, error_in_a_200(403, "User has not consented")),
    "an error in a 200: a fault of Kaggle's, twice": _scripted(LIST, _BROKEN, _BROKEN),
    "an error in a 200: a fault of Kaggle's, every time": _always(LIST, _BROKEN),
    "a page of HTML in the place of the list": _always(LIST, _PAGE),
    "a page's token that comes again and again": _repeats,
    "the list says that a file is larger": _listed(lambda size_bytes: size_bytes + 1),
    "the list says that a file is smaller": _listed(lambda size_bytes: size_bytes - 1),
    "the list says two sizes of a file": _always(LIST, _files({"name": "a", "size": 1}, {"name": "a", "size": 2})),
    "the list names a file outside of the model": _always(LIST, _files({"name": "../a", "size": 1})),
    "a file that is listed and not there": _always(DOWNLOAD, instead(refusal(404, "Not found"))),
    "a zip in the place of a file, with another size than the list's": _stored,
    "a file that is a zip by the list and the store": _zip_as_listed,
    "a zip in the place of the archive": _zip_for_the_archive,
    "a flipped bit, and the right hash": _rots,
}


@pytest.fixture(scope="module")
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn() as kaggle:
        yield kaggle


@pytest.fixture(scope="module")
def mount(kaggle: KaggleStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    root = tmp_path_factory.mktemp("kaggle-faults")
    ttls = {"HUBFS_NEGATIVE_TTL": "0.5s", "HUBFS_FAILURE_TTL": "0.5s", "HUBFS_FUSE_LIBRARY": "session"}
    machine = Machine(root / "machine", {"HUBFS_KAGGLE_ENDPOINT": kaggle.url, **ttls})
    with mounted(machine, root / "hub", "kaggle:", "-o", "negative_timeout=0") as mount:
        yield mount


def test_the_table_has_every_fault_once_and_no_other() -> None:
    assert sorted(table(HEAD)) == sorted(CASES)


@pytest.mark.parametrize("fault", CASES)
def test_a_reader_gets_what_the_table_says(kaggle: KaggleStandIn, mount: Mount, fault: str, figures: Figures) -> None:
    expected, within_s = table(HEAD)[fault]
    noise = random.Random(fault)
    right = {SMALL: noise.randbytes(999), LARGE: noise.randbytes(5_200_000)}
    stage = Stage(kaggle, f"noise/row{[*CASES].index(fault)}/keras/row/1", right)
    stage.put()
    CASES[fault](stage)
    root = mount.path / stage.handle
    began_s = time.monotonic()
    with ThreadPoolExecutor(4) as readers:
        paths = [SMALL, LARGE, LARGE, SMALL]
        got = [*zip(paths, readers.map(lambda path: read(root / path, stage.expire), paths), strict=True)]
    took_s = time.monotonic() - began_s
    told = expected in {"right bytes", "the zip"} or is_told(mount, root, paths)
    kaggle.mend()
    stage.put()
    codes = {answer for _, answer in got if isinstance(answer, int)}
    figures.add("kaggle faults", injected=1, reads=len(got), **{f"errors_{errno.errorcode[code]}": 1 for code in codes})
    if expected in {"right bytes", "the zip"}:
        wanted = stage.expected or stage.right
        assert all(answer == wanted[path] for path, answer in got), codes
    else:
        assert {errno.errorcode[code] for code in codes} == {expected}
        assert len([answer for _, answer in got if isinstance(answer, int)]) == len(got), "wrong bytes"
    assert told
    assert took_s < within_s + SLACK_S
    if expected != "the zip":  # which is cached
        assert eventually(lambda: reads(root, stage.right), timeout_s=SLACK_S), "the path did not work again"

"""The table "fault of Kaggle" of docs/SEMANTICS.md, executed: the stand-in for Kaggle, a real mount, readers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pytest

from tests.support import fault_rows
from tests.support.fault_rows import SMALL, Case, always, execute, impatient_mount, noise, scripted, table
from tests.support.figures import Figures
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import Fault, Reply, error_in_a_200, instead, json_reply, refusal, too_many, zipped
from tests.support.mount import Mount

pytestmark = pytest.mark.mounted

LIST, DOWNLOAD, STORE = "ListModelInstanceVersionFiles", "DownloadModelInstanceVersion", "store"
HEAD = "| fault of Kaggle | readers get | within |"


@dataclass
class Stage(fault_rows.Stage):
    def put(self, **lies: object) -> None:
        self.hub.put(self.name, self.right, **lies)


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
    stage.hub.script(LIST, too_many(1), too_many(1))
    stage.hub.script(DOWNLOAD, too_many(1))


def _repeats(stage: Stage) -> None:
    stage.hub.repeats_token = True


def _rots(stage: Stage) -> None:
    for name, data in stage.right.items():
        stage.hub.store.rot(stage.hub.object_of(stage.name, name), len(data) // 2)


def _files(*items: Mapping[str, object]) -> Fault:
    return instead(json_reply({"files": items, "nextPageToken": ""}))


_PAGE = instead(Reply(200, {"Content-Type": "text/html"}, b"<!doctype html><html><body>Please log in.</body></html>"))
_BROKEN = error_in_a_200(500, "Internal error")

CASES: Mapping[str, Case] = {
    "429 with Retry-After, of the list and of the download": _busy,
    "a signed URL that expires in mid-read": lambda stage: stage.once_begun(stage.hub.store.forget_urls),
    "the store refuses every signed URL": always(STORE, instead(refusal(403, "SignatureDoesNotMatch"))),
    "an error in a 200: there is no such model": always(LIST, error_in_a_200(404, "Not found")),
    "an error in a 200: the file is refused": always(DOWNLOAD, error_in_a_200(403, "User has not consented")),
    "an error in a 200: a fault of Kaggle's, twice": scripted(LIST, _BROKEN, _BROKEN),
    "an error in a 200: a fault of Kaggle's, every time": always(LIST, _BROKEN),
    "a page of HTML in the place of the list": always(LIST, _PAGE),
    "a page's token that comes again and again": _repeats,
    "the list says that a file is larger": _listed(lambda size_bytes: size_bytes + 1),
    "the list says that a file is smaller": _listed(lambda size_bytes: size_bytes - 1),
    "the list says two sizes of a file": always(LIST, _files({"name": "a", "size": 1}, {"name": "a", "size": 2})),
    "the list names a file outside of the model": always(LIST, _files({"name": "../a", "size": 1})),
    "a file that is listed and not there": always(DOWNLOAD, instead(refusal(404, "Not found"))),
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
    with impatient_mount(root, "kaggle:", {"HUBFS_KAGGLE_ENDPOINT": kaggle.url}) as mount:
        yield mount


def test_the_table_has_every_fault_once_and_no_other() -> None:
    assert sorted(table(HEAD)) == sorted(CASES)


@pytest.mark.parametrize("fault", CASES)
def test_a_reader_gets_what_the_table_says(kaggle: KaggleStandIn, mount: Mount, fault: str, figures: Figures) -> None:
    name = f"noise/row{[*CASES].index(fault)}/keras/row/1"
    stage = Stage(kaggle, name, noise(fault, "model.weights.h5"))
    stage.put()
    CASES[fault](stage)

    def mend() -> None:
        kaggle.mend()
        stage.put()

    count = partial(figures.add, "kaggle faults")
    execute(table(HEAD)[fault], stage, mount, mount.path / name, mend, count)

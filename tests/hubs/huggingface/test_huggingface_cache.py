from collections.abc import Mapping

import pytest

from hubfs.errors import HubfsError, ModelNotFound, Unavailable
from hubfs.hubs.huggingface.huggingface_cache import HuggingFaceCache
from tests.support.known import known

REPO, COMMIT, OLD = "BAAI/bge-m3", "5a" * 20, "0f" * 20
AT = "models--BAAI--bge-m3"
ALIASES = {
    f"{REPO}@main": f"bge-m3@{COMMIT}",
    f"{REPO}@v1": f"bge-m3@{OLD}",
    f"{REPO}@feature%2Fx": f"bge-m3@{OLD}",
    f"{REPO}@refs%2Fpr%2F1": f"bge-m3@{OLD}",
    "bge@main": f"{REPO}@{COMMIT}",
}
PATHS = {f"/{REPO}@{COMMIT}": True, f"/{REPO}@{COMMIT}/onnx": True, f"/{REPO}@{COMMIT}/config.json": False}


class Asked:
    """What the hub is asked: where an alias leads, what revisions there are, and what is at a path."""

    def __init__(self, error: type[HubfsError] = ModelNotFound) -> None:
        self.asked: list[str] = []
        self._error = error

    def latest(self, alias: str) -> str:
        self.asked.append(alias)
        if alias not in ALIASES:
            raise self._error(alias)
        return ALIASES[alias]

    def children(self, folder: str) -> list[str]:
        self.asked.append(folder)
        return ["main", "feature/x", "v1"]

    def is_folder(self, path: str) -> bool | None:
        self.asked.append(path)
        return PATHS.get(path)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def view(asked: Asked) -> HuggingFaceCache:
    return _view(asked)


def _view(asked: Asked) -> HuggingFaceCache:
    return HuggingFaceCache(known(latest=asked.latest, children=asked.children, is_folder=asked.is_folder), "../..")


def _told(view: HuggingFaceCache, path: str) -> tuple[str | None, bytes | None, bool]:
    return view.target(path), view.content(path), view.is_folder(path)


@pytest.mark.parametrize(
    "path",
    [
        *(AT, "models--bge", "datasets--allenai--c4"),
        *(f"{AT}/{name}" for name in ("refs", "snapshots", "blobs", ".no_exist", "refs/refs", "refs/refs/pr")),
        f"{AT}/.no_exist/{COMMIT}",
    ],
)
def test_a_directory_is_there_by_its_name(asked: Asked, view: HuggingFaceCache, path: str) -> None:
    assert _told(view, path) == (None, None, True)
    assert not asked.asked


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (f"{AT}/snapshots/{COMMIT}", f"../../../../{REPO}@{COMMIT}"),
        (f"datasets--allenai--c4/snapshots/{OLD}", f"../../../../datasets/allenai/c4@{OLD}"),
        (f"models--bge/snapshots/{OLD}", f"../../../../{REPO}@{OLD}"),
    ],
)
def test_a_snapshot_is_a_symlink_to_the_directory_of_the_commit(view: HuggingFaceCache, path: str, target: str) -> None:
    assert _told(view, path) == (target, None, False)


def test_a_reference_holds_the_commit(view: HuggingFaceCache) -> None:
    for revision, commit in (("main", COMMIT), ("v1", OLD), ("feature/x", OLD), ("refs/pr/1", OLD)):
        assert _told(view, f"{AT}/refs/{revision}") == (None, commit.encode(), False), revision
    assert _told(view, f"{AT}/refs/feature") == (None, None, True)
    assert _told(view, "models--bge/refs/main") == (None, COMMIT.encode(), False)


def test_an_absent_file_is_told_of_a_commit_that_is_there(view: HuggingFaceCache) -> None:
    absent = f"{AT}/.no_exist/{COMMIT}"
    assert _told(view, f"{absent}/tokenizer.json") == (None, b"", False)
    assert _told(view, f"{absent}/onnx/tokenizer.json") == (None, b"", False)
    assert _told(view, f"{absent}/onnx") == (None, None, True)
    assert _told(view, f"{absent}/config.json") == (None, None, False)
    assert _told(view, f"{AT}/.no_exist/{OLD}/tokenizer.json") == (None, None, False)
    assert _told(view, f"models--bge/.no_exist/{COMMIT}/tokenizer.json") == (None, b"", False)


@pytest.mark.parametrize(
    "path",
    [
        *("spaces--a--b", "models--a--b--c", "models--", "models", "models--a---b", "x", ".locks", "blobs"),
        *(f"{AT}/{name}" for name in ("trees", "snapshots/main", "refs/a b", "refs/..", ".no_exist/main/x")),
        *(f"{AT}/{name}" for name in (f"snapshots/{COMMIT}/x", f"blobs/{OLD}", f"refs/{COMMIT}")),
        "models--other/snapshots/main",
    ],
)
def test_nothing_else_is_there_and_nobody_is_asked(asked: Asked, view: HuggingFaceCache, path: str) -> None:
    assert _told(view, path) == (None, None, False)
    assert not asked.asked


@pytest.mark.parametrize("path", [f"{AT}/refs/nope", "models--other/refs/main", f"models--other/snapshots/{COMMIT}"])
def test_what_the_hub_does_not_have_is_not_there(view: HuggingFaceCache, path: str) -> None:
    assert _told(view, path) == (None, None, False)


def test_a_hub_that_cannot_be_asked_is_no_absence() -> None:
    with pytest.raises(Unavailable):
        _view(Asked(Unavailable)).content(f"{AT}/refs/nope")


def test_the_listing_has_what_was_found_or_asked_for() -> None:
    versions: Mapping[str, set[str]] = {REPO: {COMMIT}, "datasets/allenai/c4": {OLD}}
    below = {"": {"BAAI", "datasets"}, "BAAI": {"bge-m3"}, "datasets": {"allenai"}, "datasets/allenai": {"c4"}}
    view = HuggingFaceCache(
        known(
            known_children=lambda folder: below.get(folder, ()),
            known_versions=lambda name: versions.get(name, ()),
            led=lambda: [f"{REPO}@v1", f"{REPO}@feature%2Fx", f"{REPO}@refs%2Fpr%2F1", "bge@main"],
            expected=ALIASES.get,
        ),
        "../..",
    )
    root = view.shown("")
    assert (sorted(root.folders), root.texts) == (["datasets--allenai--c4", AT, "models--bge"], ["CACHEDIR.TAG"])
    assert (view.content("CACHEDIR.TAG") or b"").startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    assert view.shown(AT).folders == ["blobs", "refs", "snapshots"]
    assert sorted(view.shown(f"{AT}/snapshots").links) == [OLD, COMMIT]
    assert sorted(view.shown("models--bge/snapshots").links) == [COMMIT]
    refs = view.shown(f"{AT}/refs")
    assert (sorted(refs.folders), sorted(refs.texts)) == (["feature", "refs"], ["main", "v1"])
    assert [*view.shown(f"{AT}/refs/feature").texts] == ["x"]
    assert [*view.shown(f"{AT}/refs/refs").folders] == ["pr"]
    for empty in (f"{AT}/blobs", f"{AT}/.no_exist", "models--other/refs"):
        assert not any((view.shown(empty).folders, view.shown(empty).links, view.shown(empty).texts)), empty

"""Who may read, and who is believed: the cache is for who mounted, alone."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.cache.disk.indexes import IndexStore
from hubfs.cache.disk.layout import CacheLayout
from tests.support.disk_cache import KEY, MODEL, block_of, data_file, let_others_in, map_file, tier
from tests.support.programs import ran

BLOCK = block_of(1, 5000)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def filled(root: Path) -> None:
    """Everything that a cache directory may hold."""
    cache = tier(root)
    release = cache.hold(MODEL)
    assert cache.get(KEY, 0) in (None, BLOCK)
    assert cache.put(KEY, 0, BLOCK)
    store = IndexStore(CacheLayout(root))
    store.save(MODEL, {"entries": []})
    store.save_file(MODEL, b"spans")
    release()


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_directories_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    root = tmp_path / "not" / "there"
    with umask(mask):
        filled(root)
    made = [root, *root.rglob("*")]
    assert len([path for path in made if path.is_file()]) == 6
    assert {mode_of(path) for path in made if path.is_dir()} == {0o700}
    assert {mode_of(path) for path in made if path.is_file()} == {0o600}


def test_another_user_cannot_read_any_of_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    let_others_in(tmp_path)
    root = tmp_path / "cache"
    with umask(0):
        filled(root)
    for path in (root, root / "models", data_file(root), map_file(root), CacheLayout(root).index(MODEL)):
        done = ran(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", path])
        assert "Permission denied" in done.stderr or "Is a directory" in done.stderr, path
        assert not done.stdout


@pytest.mark.parametrize("earlier", [False, True])
def test_a_directory_of_ours_that_is_open_to_others_is_closed(tmp_path: Path, *, earlier: bool) -> None:
    root = tmp_path / "cache"
    root.mkdir()
    if earlier:
        filled(root)
        (root / "models").chmod(0o755)
        (root / "trash").chmod(0o777)
    root.chmod(0o755)
    filled(root)
    assert {mode_of(path) for path in (root, root / "models", root / "trash")} == {0o700}


@pytest.mark.parametrize(("mode", "warned"), [(0o755, False), (0o777, True), (0o775, True), (0o1777, False)])
def test_a_directory_that_others_use_too_is_left_as_it_is_but_what_is_ours_in_it_is_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, warned: bool
) -> None:
    root = tmp_path / "shared"
    root.mkdir()
    (root / "0123abcd").mkdir()  # what tensorflow_hub keeps there
    root.chmod(mode)
    filled(root)
    assert mode_of(root) == mode
    assert {mode_of(root / "models"), mode_of(root / "trash")} == {0o700}
    assert ("Other users may write to the cache directory" in caplog.text) is warned


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
@pytest.mark.parametrize("which", ["models", "trash"])
def test_what_another_user_put_there_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    root = tmp_path / "cache"
    filled(root)
    (root / "trash" / "theirs").touch()
    os.chown(root / which, 65534, 65534)
    before = sorted(root.rglob("*"))
    layout = CacheLayout(root)
    with pytest.raises(PermissionError, match="another user, whose bytes are not believed"):
        layout.prepare()
    with pytest.raises(PermissionError, match="another user"):
        list(layout.models())
    cache, store = tier(root), IndexStore(layout)
    assert "another user" in caplog.text
    assert "another user" in str(cache.stats()["disk"].problem)
    assert cache.get(KEY, 0) is None
    assert cache.put(KEY, 0, BLOCK) is False
    assert store.load("tfhub.dev/google/spice/2") is None
    assert store.load_file(MODEL) is None
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("which", ["models", "trash"])
def test_a_symlink_leads_nowhere(tmp_path: Path, which: str) -> None:
    root, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "precious").write_text("kept", encoding="ascii")
    (root / which).symlink_to(elsewhere)
    cache = tier(root)
    assert cache.put(KEY, 0, BLOCK) is False
    assert "symlink" in str(cache.stats()["disk"].problem)
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    assert mode_of(elsewhere) == 0o755


def test_no_file_is_written_or_read_through_a_symlink(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    filled(root)
    layout = CacheLayout(root)
    places = (data_file(root), map_file(root), layout.in_use(MODEL), layout.index(MODEL), layout.archive_index(MODEL))
    for place in places:
        elsewhere.write_bytes(place.read_bytes())
        before = elsewhere.read_bytes(), elsewhere.stat().st_mtime_ns
        place.unlink()
        place.symlink_to(elsewhere)
        filled(root)
        assert (elsewhere.read_bytes(), elsewhere.stat().st_mtime_ns) == before
        assert tier(root).get(KEY, 0) == BLOCK
        assert not place.is_symlink()

import os
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.cache.disk.layout import CacheLayout

NAMES = ["tfhub.dev/google/spice/2@abc", "127.0.0.1:8080%2Fhub/a/b.c_d/e-f/1@0f", "gs:%2F%2Fbucket/a/b/3@9"]


def test_prepare_makes_the_directories_and_tells_backup_programs_so(tmp_path: Path) -> None:
    layout = CacheLayout(tmp_path / "not" / "there")
    layout.prepare()
    layout.prepare()
    assert sorted(path.name for path in layout.root.iterdir()) == ["CACHEDIR.TAG", "models", "trash"]
    tag = (layout.root / "CACHEDIR.TAG").read_text(encoding="ascii")
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_prepare_writes_nothing_where_a_symlink_leads(tmp_path: Path) -> None:
    layout = CacheLayout(tmp_path / "cache")
    layout.root.mkdir()
    (layout.root / "CACHEDIR.TAG").symlink_to(tmp_path / "planted")
    layout.prepare()
    assert not (tmp_path / "planted").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
def test_whoever_owns_the_directory_and_is_another_user_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    layout = CacheLayout(tmp_path / "cache")
    layout.root.mkdir()
    layout.root.chmod(mode)
    os.chown(layout.root, 65534, 65534)
    layout.prepare()
    assert "belongs to another user (65534)" in caplog.text


def test_models_are_listed_as_they_are_named(tmp_path: Path) -> None:
    layout = CacheLayout(tmp_path)
    for name in NAMES:
        (layout.model(name) / "data" / "user@example").mkdir(parents=True)
    assert sorted(layout.models()) == sorted(NAMES)
    assert list(layout.models("tfhub.dev")) == NAMES[:1]
    assert list(layout.models("tfhub.dev/google")) == NAMES[:1]
    assert list(layout.models("nobody")) == []


def test_the_files_of_a_model_lie_below_it(tmp_path: Path) -> None:
    layout = CacheLayout(tmp_path)
    key = CacheKey(NAMES[1], "variables/data of 1")
    for path in (layout.index(key.model), layout.in_use(key.model), layout.data(key), layout.blocks(key)):
        assert path.is_relative_to(layout.model(key.model))
    assert layout.data(key).relative_to(layout.model(key.model)).as_posix() == "data/variables/data of 1"


@pytest.mark.parametrize("name", ["", "/", "a//b", "a/../b", "../a", ".", "a/.", "a\0b", "/a"])
def test_a_name_that_would_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    layout = CacheLayout(tmp_path)
    with pytest.raises(OSError, match="not a path inside the cache"):
        layout.model(name)
    with pytest.raises(OSError, match="not a path inside the cache"):
        layout.data(CacheKey(NAMES[0], name))

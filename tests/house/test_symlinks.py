from pathlib import Path

import pytest


@pytest.mark.parametrize("target", ["/", "/etc", Path.home(), "../" * 40])
def test_no_test_makes_a_symlink_that_leads_out(tmp_path: Path, target: str | Path) -> None:
    link = tmp_path / "link"
    with pytest.raises(AssertionError, match="no directory of the tests"):
        link.symlink_to(target)
    assert not link.is_symlink()


def test_symlinks_below_are_made(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for number, target in enumerate(("folder", tmp_path / "folder", "nowhere", "/nowhere", "../..")):
        (tmp_path / "folder" / f"link{number}").symlink_to(target)

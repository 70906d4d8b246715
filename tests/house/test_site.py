"""The documents as pages: mkdocs makes them without a warning, and each page can be reached by the menu."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.programs import ran


@pytest.mark.slow
def test_the_pages_are_made_without_a_warning(tmp_path: Path) -> None:
    done = ran(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"], cwd=ROOT, timeout=200
    )
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "OPERATIONS.html", "guides/offline.html", "decisions/index.html"):
        assert (tmp_path / "site" / page).exists()
    assert '<a class="headerlink"' in (tmp_path / "site" / "SEMANTICS.html").read_text(encoding="utf-8")


def test_the_menu_has_every_page_but_those_that_a_page_lists() -> None:
    def pages(menu: object) -> list[str]:
        if isinstance(menu, str):
            return [menu]
        return [page for part in (menu.values() if isinstance(menu, dict) else menu) for page in pages(part)]

    named = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    docs = ROOT / "docs"
    wanted = [*docs.glob("*.md"), *(docs / "guides").glob("*.md"), docs / "decisions" / "README.md"]
    assert sorted(named) == sorted(path.relative_to(docs).as_posix() for path in wanted)

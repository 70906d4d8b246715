"""The pages of `hubfs serve` as a person sees them, in Chromium; and the commands that they tell, typed."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.browser import CHROMIUM, Browser, Screen
from tests.support.mount import Machine
from tests.support.serving import serving, write_model

pytestmark = pytest.mark.slow

MODEL = "google/spice/2"
DEEP = f"google/{'a-very-long-name-' * 5}model/1"
SCREENS = [Screen(1000), Screen(360, 740), Screen(1000, scheme="dark")]
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("served")
    for handle in ("google/spice/1", MODEL, DEEP):
        write_model(place, handle)
    return place


@pytest.fixture(scope="module")
def hub(root: Path) -> Iterator[str]:
    with serving(root) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; scripts/test installs Debian's")
    with Browser() as one:
        yield one


def commands_of(page: str) -> list[list[str]]:
    code = re.findall(r"<code>(.*?)</code>", page, re.DOTALL)
    lines = [line.removeprefix("$ ") for block in code for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line.replace("&#x27;", "'")) for line in lines]


def test_the_command_that_fetches_a_model_does_so(hub: str, root: Path, tmp_path: Path) -> None:
    page = requests.get(f"{hub}/{MODEL}", timeout=TIMEOUT_S).text
    (fetch,) = (words for words in commands_of(page) if words[:2] == ["hubfs", "fetch"])
    to = tmp_path / fetch[-1]
    done = Machine(tmp_path / "machine").hubfs(*fetch[1:-1], to)
    assert done.returncode == 0, done.stderr
    subprocess.run(["diff", "-r", root / MODEL, to], check=True)


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: f"{screen.width}-{screen.scheme}")
@pytest.mark.parametrize("path", ["", "google", MODEL, DEEP, "google/spice/9"])
def test_a_page_fits_the_screen_and_asks_for_nothing_else(
    browser: Browser, hub: str, path: str, screen: Screen
) -> None:
    seen = browser.look(f"{hub}/{path}", screen)
    assert not seen.wider_than_the_screen
    assert [url for url in seen.requests if not url.endswith("/favicon.ico")] == [f"{hub}/{path}"]
    assert [said for said in seen.complaints if "favicon" not in said and "404" not in said] == []
    assert seen.png.startswith(b"\x89PNG")


def test_the_page_of_a_model_tells_how_to_mount_load_and_fetch_it(browser: Browser, hub: str) -> None:
    text = browser.look(f"{hub}/{MODEL}", SCREENS[0]).text
    for line in (
        f"$ hubfs mount /mnt/tfhub --hub {hub}",
        f">>> model = tf.saved_model.load('/mnt/tfhub/{MODEL}')",
        f">>> model = hubfs.load('{hub}/{MODEL}')",
        f"$ hubfs fetch {MODEL} --hub {hub} --to spice",
    ):
        assert line in text
    assert text.index("Read it as files") < text.index("Fetch it") < text.index("Files\n")


def test_dark_is_dark(browser: Browser, hub: str) -> None:
    light, dark = (browser.look(f"{hub}/{MODEL}", screen) for screen in (SCREENS[0], SCREENS[2]))
    assert light.text == dark.text
    assert light.png != dark.png

"""Screens of `hubfs status` and `hubfs top` as pictures, from a real mount of hubs that live as long as the script.

scripts/pictures [DIRECTORY]     (docs/pictures)
"""

import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pyte
from PIL import Image, ImageDraw, ImageFont

from hubfs.hubs.tfhub.ways import PUBLIC_BUCKET
from tests.support.archives import gzipped, tar_of
from tests.support.gcs_server import gcs_server
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin, paced, status
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle import KaggleStandIn
from tests.support.mount import HUBFS, Machine, mounted
from tests.support.terminal import Terminal

COLUMNS, ROWS = 110, 40
MIB = 1 << 20
FONTS = Path("/usr/share/fonts/truetype/dejavu")
PIXELS = 18
BACKGROUND, FOREGROUND = "#16181d", "#d5d8de"
COLORS = {
    "red": "#f07178",
    "green": "#9ccc65",
    "brown": "#ffcb6b",
    "blue": "#6fa8ff",
    "magenta": "#c792ea",
    "cyan": "#6fd3e8",
    "brightblack": "#6b7280",
}
"""By the names that pyte has of a terminal's colours."""


def noise(size_bytes: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


@contextmanager
def hubs() -> Iterator[dict[str, str]]:
    """tfhub.dev with its three ways, and the Hugging Face Hub: the environment in which hubfs asks them."""
    bucket, _, prefix = PUBLIC_BUCKET.removeprefix("gs://").partition("/")
    with gcs_server() as store, HttpOrigin() as redirect, KaggleStandIn() as kaggle, HuggingFaceStandIn() as hub:
        store.create_bucket(bucket)
        for path, size_bytes in (("saved_model.pb", MIB), ("variables/variables.data-00000-of-00001", 12 * MIB)):
            store.upload(bucket, f"{prefix}/google/spice/2/uncompressed/{path}", noise(size_bytes, size_bytes))
        kaggle.put("google/yamnet/tensorFlow2/yamnet/1", {"saved_model.pb": noise(3 * MIB, 1)})
        large = {"saved_model.pb": noise(2 * MIB, 2), "variables/variables.data-00000-of-00001": noise(120 * MIB, 3)}
        for name, rate in (("universal-sentence-encoder/4", 7e6), ("movenet/singlepose/lightning/4", 3e6)):
            put(redirect, f"/google/{name}", "tf-hub-format=compressed", gzipped(tar_of(large)), etag='"1"')
            redirect.always(f"/google/{name}", paced(rate))
        redirect.always("/acme/private/1", status(403))
        hub.put("BAAI/bge-m3", {"config.json": b"{}", "model.safetensors": noise(40 * MIB, 4)})
        hub.put("openai/whisper-tiny", {"config.json": b"{}", "model.safetensors": noise(24 * MIB, 5)})
        yield {
            "STORAGE_EMULATOR_HOST": store.url,
            "HUBFS_TFHUB_ENDPOINT": redirect.url,
            "HUBFS_KAGGLE_ENDPOINT": kaggle.url,
            "HF_ENDPOINT": hub.url,
        }


def read(path: Path, over: threading.Event, times: int = 1, pause_s: float = 0.0) -> None:
    """Reads a file, past the page cache, as a loader does that goes on for as long as the picture needs."""
    for _ in range(times):
        with suppress(OSError), path.open("rb", buffering=0) as file:
            while not over.is_set() and file.read(MIB):
                time.sleep(pause_s)
        if over.is_set():
            return


def draw(screen: pyte.Screen, file: Path) -> None:
    """The screen as a picture: one rectangle for each cell, so that bars and columns meet."""
    fonts = {
        bold: ImageFont.truetype(FONTS / f"DejaVuSansMono{'-Bold' if bold else ''}.ttf", PIXELS) for bold in (0, 1)
    }
    width, height = round(fonts[0].getlength("m")), round(PIXELS * 1.3)
    rows = max((y for y in range(screen.lines) if screen.display[y].strip()), default=0) + 1
    image = Image.new("RGB", ((screen.columns + 2) * width, (rows + 1) * height), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for y in range(rows):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            color = COLORS.get(cell.fg, FOREGROUND if cell.fg == "default" else f"#{cell.fg}")
            back = BACKGROUND if cell.bg == "default" else COLORS.get(cell.bg, f"#{cell.bg}")
            if cell.reverse:
                color, back = back, color
            left, top = (x + 1) * width, y * height + height // 2
            if back != BACKGROUND:
                pen.rectangle((left, top, left + width - 1, top + height - 1), fill=back)
            pen.text((left, top + 1), cell.data, fill=color, font=fonts[int(cell.bold)])
    image.quantize(32).save(file, optimize=True)


def main(place: Path) -> None:
    over = threading.Event()
    with ExitStack() as stack:
        stack.callback(over.set)
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hubfs-pictures.")))
        machine = Machine(home / "machine").with_environment(
            **stack.enter_context(hubs()), HUBFS_CACHE_DIR=str(home / "cache"), HUBFS_CONNECT_TIMEOUT="1s"
        )
        os.environ.pop("NO_COLOR", None)
        mountpoint = Path("/mnt/hubs")
        mount = stack.enter_context(mounted(machine, mountpoint, "tfhub=tfhub:", "--hub=hf=hf:", "--memory-size=64MiB"))
        files = [
            ("tfhub/google/spice/2/variables/variables.data-00000-of-00001", 200, 0.02),
            ("tfhub/google/yamnet/1/saved_model.pb", 1, 0.0),
            ("tfhub/google/universal-sentence-encoder/4/variables/variables.data-00000-of-00001", 1, 0.0),
            ("tfhub/google/movenet/singlepose/lightning/4/variables/variables.data-00000-of-00001", 1, 0.0),
            ("hf/BAAI/bge-m3/model.safetensors", 200, 0.03),
            ("hf/openai/whisper-tiny/config.json", 1, 0.0),
            ("tfhub/acme/private/1/saved_model.pb", 1, 0.0),
        ]
        for path, times, pause_s in files:
            thread = threading.Thread(target=read, args=(mount.path / path, over, times, pause_s))
            thread.start()
            stack.callback(thread.join)
        time.sleep(6)
        for command in sys.argv[2:] or ("status", "top"):
            terminal = Terminal([HUBFS, command, mountpoint], COLUMNS, ROWS, machine.variables)
            with closing(terminal):
                time.sleep(8 if command == "top" else 3)
                draw(terminal.screen(), place / f"{command}.png")
                if command == "top":
                    terminal.send("q")
                print("\n".join(terminal.screen().display))
        over.set()


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures")
    place.mkdir(parents=True, exist_ok=True)
    main(place)

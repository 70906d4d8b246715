"""Screens of `hubfs status` and `hubfs top` as pictures, from a real mount of hubs that live as long as the script.

scripts/picture-of-status [DIRECTORY]     (docs/pictures)
"""

import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
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

COLUMNS = 110
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
        for name, rate in (("universal-sentence-encoder/4", 0.7e6), ("movenet/singlepose/lightning/4", 0.25e6)):
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


@dataclass(frozen=True)
class Reader:
    """Reads the first MiB of a file again and again, as if no page of it were in memory."""

    path: str
    most_mib: int = 1000
    times: int = 1
    pause_s: float = 0.0

    def run(self, mountpoint: Path, over: threading.Event) -> None:
        for _ in range(self.times):
            with suppress(OSError), (mountpoint / self.path).open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                for _ in range(self.most_mib):
                    if over.wait(self.pause_s) or not file.read(MIB):
                        break
            if over.is_set():
                return


ENCODER = "tfhub/google/universal-sentence-encoder/4/variables/variables.data-00000-of-00001"
READERS = (
    Reader("tfhub/google/spice/2/variables/variables.data-00000-of-00001", times=1000, pause_s=0.02),
    Reader("tfhub/google/yamnet/1/saved_model.pb"),
    Reader(ENCODER),
    Reader(ENCODER, most_mib=8, times=1000, pause_s=0.05),
    Reader("tfhub/google/movenet/singlepose/lightning/4/variables/variables.data-00000-of-00001"),
    Reader("hf/BAAI/bge-m3/model.safetensors", times=1000, pause_s=0.03),
    Reader("hf/openai/whisper-tiny/config.json"),
    Reader("tfhub/acme/private/1/saved_model.pb"),
)


def draw(screen: pyte.Screen, file: Path) -> None:
    """The screen as a picture, cell by cell, so that bars and columns meet."""
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
    image.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)


def take_away(mountpoint: Path) -> None:
    """The mount point and its log, which only the picture needs by these names."""
    for log in mountpoint.parent.glob(f"{mountpoint.name}.log*"):
        log.unlink()
    with suppress(OSError):  # somebody has files there
        mountpoint.rmdir()


def main(place: Path) -> None:
    over = threading.Event()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hubfs-pictures.")))
        machine = Machine(home / "machine").with_environment(
            **stack.enter_context(hubs()), HUBFS_CACHE_DIR=str(home / "cache")
        )
        os.environ.pop("NO_COLOR", None)
        mountpoint = Path("/mnt/hubs")
        stack.callback(take_away, mountpoint)
        mount = stack.enter_context(mounted(machine, mountpoint, "tfhub=tfhub:", "--hub=hf=hf:", "--memory-size=64MiB"))
        for reader in READERS:
            thread = threading.Thread(target=reader.run, args=(mount.path, over))
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)
        time.sleep(4)
        for command, rows, seconds in (("status", 60, 5), ("top", 38, 30)):
            terminal = Terminal([HUBFS, command, mountpoint], COLUMNS, rows, machine.variables)
            with closing(terminal):
                until_s = time.monotonic() + seconds
                while time.monotonic() < until_s:
                    terminal.screen()  # a terminal that nobody reads stops the program
                    time.sleep(0.1)
                draw(terminal.screen(), place / f"{command}.png")
                print(terminal.text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

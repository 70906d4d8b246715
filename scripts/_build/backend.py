"""How hubfs is built: by setuptools, with manual pages that are made of the help texts, and the same for each build.

Two builds of one commit have equal bytes: times are the commit's, and modes say no more than what can be executed.
"""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - every hook that is not here

_ROOT = Path(__file__).parents[2]
_TOLD = _ROOT / "SOURCE_DATE_EPOCH"
"""The time in an sdist, where there is no commit: programs that unpack it need not keep the times of files."""

_IMPORTED = ("click", "cachetools", "platformdirs", "tomli; python_version < '3.11'")
"""What the modules of the commands import at once."""


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_IMPORTED]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    sys.path[:0] = [str(_ROOT), str(Path(__file__).parent)]
    import man  # noqa: PLC0415 - it needs what only a wheel is built with

    _settle()
    pages = _ROOT / "build" / "man"
    shutil.rmtree(pages, ignore_errors=True)  # of a command that is no more
    man.write_pages(pages)
    name = build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    wheel = Path(wheel_directory, name)
    level = wheel.with_suffix(".level")
    with zipfile.ZipFile(wheel) as made, zipfile.ZipFile(level, "w") as leveled:
        for member in made.infolist():
            member.external_attr = (0o100755 if member.external_attr >> 16 & 0o100 else 0o100644) << 16
            leveled.writestr(member, made.read(member))
    level.replace(wheel)
    return name


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    built_s = _settle()
    name = build_meta.build_sdist(sdist_directory, config_settings)
    archive = Path(sdist_directory, name)
    level = archive.with_suffix(".level")
    with tarfile.open(archive) as made, level.open("wb") as file:
        with gzip.GzipFile("", "wb", fileobj=file, mtime=built_s) as packed, tarfile.open(None, "w", packed) as leveled:
            told = tarfile.TarInfo(f"{name.removesuffix('.tar.gz')}/{_TOLD.name}")
            told.size, told.mtime = len(text := f"{built_s}\n".encode()), built_s
            leveled.addfile(told, io.BytesIO(text))
            for member in sorted(made, key=lambda member: member.name):
                member.mtime, member.pax_headers = built_s, {}
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                leveled.addfile(member, made.extractfile(member) if member.isfile() else None)
    level.replace(archive)
    return name


def _settle() -> int:
    """The time of what is built: the commit's, or now where nobody knows of one. setuptools is told it, too."""
    told = os.environ.get("SOURCE_DATE_EPOCH")
    if not told and _TOLD.exists():
        told = _TOLD.read_text(encoding="ascii")
    if not told and (_ROOT / ".git").exists() and shutil.which("git"):
        asked = ["git", "-C", str(_ROOT), "log", "-1", "--format=%ct"]
        told = subprocess.run(asked, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    built_s = int(told or time.time())
    os.environ["SOURCE_DATE_EPOCH"] = str(built_s)
    return built_s

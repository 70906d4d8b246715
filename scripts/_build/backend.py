"""How wheels are built: by setuptools, with manual pages that are made of the help texts before."""

import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - every hook that is not here

_ROOT = Path(__file__).parents[2]
_IMPORTED = ("click", "cachetools", "platformdirs", "tomli; python_version < '3.11'")
"""What the modules of the commands import at once."""


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_IMPORTED]


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    sys.path[:0] = [str(_ROOT), str(Path(__file__).parent)]
    import man  # noqa: PLC0415 - it needs what only a wheel is built with

    pages = _ROOT / "build" / "man"
    shutil.rmtree(pages, ignore_errors=True)  # of a command that is no more
    man.write_pages(pages)
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)

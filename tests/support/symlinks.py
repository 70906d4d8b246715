"""Keeps tests at home: what follows a symlink (a walk, a chmod, a deletion) is never led to other people's files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from tests.support.paths import ROOT


@contextmanager
def symlinks_that_stay_below(home: Path) -> Iterator[None]:
    """Meanwhile no symlink is made to a directory that is neither below `home` nor in this project.

    Of this process, that is: `Path.symlink_to` and `shutil` end in `os.symlink`, too.
    """
    real = os.symlink

    def symlink(target: Any, link: Any, *arguments: Any, **more: Any) -> None:
        led_to = Path(os.path.normpath(Path(os.fsdecode(link)).parent / os.fsdecode(target)))
        at_home = led_to.is_relative_to(home) or led_to.is_relative_to(ROOT)
        assert at_home or not led_to.is_dir(), f"{link} would lead to {led_to}, which is no directory of the tests"
        real(target, link, *arguments, **more)

    with mock.patch("os.symlink", symlink):
        yield

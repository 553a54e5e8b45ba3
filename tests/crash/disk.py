"""A file system of its own that loses power: what was not synced is gone."""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

SHUTDOWN: Final = 0x8004587D  # EXT4_IOC_SHUTDOWN
AT_ONCE: Final = struct.pack("I", 2)  # without flushing its log
SIZE: Final = 64 * 1024 * 1024


@frozen
class Disk:
    """An ext4 in a file, mounted at *place*."""

    image: Path
    place: Path

    def cut(self) -> None:
        """Take its power away: nothing reaches it any more."""
        handle = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, AT_ONCE)
        finally:
            os.close(handle)

    def give_power(self) -> None:
        """Mount it again, with what it has."""
        subprocess.run(["umount", self.place], check=True)  # noqa: S607  # see `mounted`
        self.mount()

    def mount(self) -> None:
        """Mount it."""
        subprocess.run(["mount", "-o", "loop", self.image, self.place], check=True)  # noqa: S607


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """Make a disk in *folder*; skips the test where that cannot be."""
    disk = Disk(folder / "disk.img", folder / "disk")
    _make(disk)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk.place], check=True)  # noqa: S607


def _make(disk: Disk) -> None:
    if os.geteuid():
        pytest.skip("mounting a disk needs root")
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    disk.place.mkdir()
    with disk.image.open("wb") as image:
        image.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk.image], check=True)  # noqa: S607
    try:
        disk.mount()
    except subprocess.CalledProcessError:
        pytest.skip("loop devices cannot be mounted here")

"""Where the bytes go: one file, or a folder of numbered segments."""

import os
import re
from pathlib import Path

from attrs import frozen

from levada import Fatal

_ONE_FILE = (".jsonl", ".ndjson")
_LONGEST_NAME = 255  # bytes, on all file systems in use
_SEGMENT = re.compile(r"events-(\d{6,})\.jsonl(?:\.gz)?")


def is_one_file(path: Path) -> bool:
    """Tell by its name whether *path* is one file (``x.jsonl``, ``x.ndjson.gz``) or a folder."""
    return path.name.lower().removesuffix(".gz").endswith(_ONE_FILE)


@frozen
class Layout:
    """The names of a sink's files. Segments count from 1; one file is segment 0."""

    path: Path
    """Absolute."""

    gzip: bool

    mode: int
    """Permissions of new files; the umask does not apply."""

    @property
    def one_file(self) -> bool:
        """Whether there is but one file, which never rotates."""
        return is_one_file(self.path)

    @property
    def folder(self) -> Path:
        """The folder that the files are in."""
        return self.path.parent if self.one_file else self.path

    @property
    def intent(self) -> Path:
        """The hidden file that says which segments are not committed yet."""
        return self.folder / f".{self.path.name if self.one_file else 'events'}.levada"

    def segment(self, number: int) -> Path:
        """Return the path of a segment that is to be created."""
        if self.one_file:
            return self.path
        return self.folder / f"events-{number:06d}.jsonl{'.gz' if self.gzip else ''}"

    def number(self, name: str) -> int:
        """Return the number of the segment called *name*; -1 when it is none of ours."""
        if self.one_file:
            return 0 if name == self.path.name else -1
        match = _SEGMENT.fullmatch(name)
        return int(match[1]) if match else -1

    def newer(self, number: int) -> list[Path]:
        """Return the segments numbered above *number*, highest first; -1 for all."""
        found = [path for path in self.folder.iterdir() if self.number(path.name) > number]
        return sorted(found, key=lambda path: self.number(path.name), reverse=True)

    def prepare(self) -> None:
        """Create the folder where it is missing, and find out whether we may write there.

        Raises:
            Fatal: we may not, or `path` is something else than its name says.
            OSError: the folder cannot be created.
        """
        self._check_kind()
        if len(os.fsencode(self.intent.name)) > _LONGEST_NAME:
            raise Fatal(f"{self.path} has too long a name; the file beside it needs 8 bytes more")
        create_folder(self.folder, mode=0o700 | self.mode | (self.mode & 0o444) >> 2)
        for place in (self.folder, *([self.path] if self.path.exists() else [])):
            if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else os.R_OK)):
                raise Fatal(f"{place} cannot be written by uid {os.geteuid()}; change `path`")

    def _check_kind(self) -> None:
        if self.one_file and self.path.is_dir():
            raise Fatal(f"{self.path} is a folder; leave the suffix of `path` out to use one")
        if self.one_file and self.path.is_symlink():
            raise Fatal(f"{self.path} is a symbolic link; point `path` at where it leads")
        if self.one_file and self.path.exists() and not self.path.is_file():
            raise Fatal(f"{self.path} is no regular file; change `path`")
        if not self.one_file and self.path.exists() and not self.path.is_dir():
            raise Fatal(f"{self.path} is a file; end `path` in .jsonl to write one file")


def create_folder(folder: Path, *, mode: int) -> None:
    """Create *folder* and its missing parents, so that a power loss does not undo it."""
    if folder.is_dir():
        return
    create_folder(folder.parent, mode=mode)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(mode)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created and removed in *folder* survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Reads in a trace whether what counts was on the disk before it counted.

What was not synced may be lost in a power loss, in any order. So a trace of the calls tells
whether some power loss would break a promise, without one having to happen.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

CALLS: Final = "openat,write,pwrite64,ftruncate,rename,fsync,fdatasync"
_LINE: Final = re.compile(
    r"(\d+) +(?:<\.\.\. )?(\w+)(?:\((.*?)| resumed>.*?)(<unfinished \.\.\.>)?$"
)


@frozen
class Call:
    """A call that begins, or one that has ended."""

    name: str
    arguments: str
    ended: bool


def calls(trace: str) -> Iterator[Call]:
    """Yield the beginning and the end of each call, in the order they happened."""
    under_way: dict[str, str] = {}
    for line in trace.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        thread, name, arguments, unfinished = found.groups()
        if arguments is None:
            yield Call(name, under_way.pop(thread), ended=True)
            continue
        yield Call(name, arguments, ended=False)
        if unfinished:
            under_way[thread] = arguments
        else:
            yield Call(name, arguments, ended=True)


@define
class Disk:
    """What a power loss could take, call after call; asserts what must not be at its mercy."""

    unsynced: set[Path] = field(factory=set, init=False)
    """Files with bytes that are not on the disk."""

    unnamed: set[Path] = field(factory=set, init=False)
    """Files that their folder may forget."""

    commits: int = field(default=0, init=False)
    created: int = field(default=0, init=False)
    appended: int = field(default=0, init=False)

    def replay(self, trace: str) -> None:
        """Follow a trace.

        Raises:
            AssertionError: something counted before it was on the disk.
        """
        steps: Mapping[str, Callable[[str], None]] = {
            "write": self._write,
            "pwrite64": self._write,
            "ftruncate": self._write,
        }
        ends: Mapping[str, Callable[[str], None]] = {
            "openat": self._open,
            "rename": self._rename,
            "fsync": self._sync,
            "fdatasync": self._sync,
        }
        for call in calls(trace):
            if not call.ended and call.name in {"fsync", "fdatasync"}:
                self._begin_sync(call.arguments)
            step = (ends if call.ended else steps).get(call.name)
            if step:
                step(call.arguments)

    def _write(self, arguments: str) -> None:
        path = _descriptor(arguments)
        if _is_segment(path):
            self.appended += 1
            waiting = [each.name for each in self.unsynced if each.name == "state.db-wal"]
            assert not waiting, f"{path.name} is written before the last commit is on the disk"
        self.unsynced.add(path)

    def _open(self, arguments: str) -> None:
        path = _named(arguments)[0]
        if "O_CREAT" in arguments and path.name.endswith(".levada"):
            self.unnamed.add(path)
        if "O_EXCL" in arguments and _is_segment(path):
            self.created += 1
            hidden = {each.name for each in self.unsynced | self.unnamed}
            assert ".events.levada" not in hidden, f"{path.name} is not announced on the disk"
            self.unnamed.add(path)

    def _rename(self, arguments: str) -> None:
        before, after = _named(arguments)
        assert before not in self.unsynced, f"{before.name} gets its name before it is on the disk"
        self.unnamed.add(after)

    def _begin_sync(self, arguments: str) -> None:
        if _descriptor(arguments).name != "state.db-wal":
            return
        self.commits += 1
        at_mercy = [path.name for path in self.unsynced if _is_segment(path)]
        assert not at_mercy, f"{at_mercy[0]} counts before it is on the disk"
        unnamed = [path.name for path in self.unnamed if not path.name.endswith(".levada")]
        assert not unnamed, f"{unnamed[0]} counts before its folder is on the disk"

    def _sync(self, arguments: str) -> None:
        path = _descriptor(arguments)
        self.unsynced.discard(path)
        self.unnamed = {each for each in self.unnamed if each.parent != path}


def _is_segment(path: Path) -> bool:
    return path.name.startswith("events") or path.name == "out"


def _descriptor(arguments: str) -> Path:
    found = re.match(r"\d+<([^>]*)>", arguments)
    assert found, arguments
    return Path(found[1])


def _named(arguments: str) -> list[Path]:
    return [Path(path) for path in re.findall(r'"([^"]*)"', arguments)]

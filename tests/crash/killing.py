"""Starts the victim again and again, and kills it: at a moment, or at a system call."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Final

import pytest
from attrs import define, field, frozen

TESTS: Final = Path(__file__).parents[1]
VICTIM: Final = Path(__file__).with_name("victim.py")
STRACE: Final = shutil.which("strace")
MOST_S: Final = 30
LATEST_S: Final = 0.15
TRIES: Final = 10
needs_strace = pytest.mark.skipif(not STRACE, reason="strace is not installed")


@frozen
class Blow:
    """Kills on entering the *nth* call, counted for each thread, that has to do with *paths*."""

    call: str
    nth: int = 1
    paths: Sequence[Path] = ()
    """None: any."""

    slow: str = ""
    """Other calls of *paths* that take `SLOW_US` longer."""


SLOW_US: Final = 30_000


@frozen
class Death:
    """Where a process was killed."""

    call: str
    place: str = ""
    """A path, or what strace calls a socket."""


@define
class Victim:
    """One pipeline that is started, killed and started again, always in the same folder."""

    folder: Path
    protocol: str
    url: str = ""
    packages: Path | None = None
    """Where to import the connectors and the framework from, instead of what is installed."""

    step: int = 8
    """How many events more a run has at each start."""

    piped: bool = False
    """Standard output is a pipe, another one at each start; a file otherwise."""

    count: int = field(default=0, init=False)
    """How many events each run has by now."""

    deaths: list[Death] = field(factory=list, init=False)
    outputs: list[bytes] = field(factory=list, init=False)
    """What came out of each pipe."""

    @property
    def out(self) -> Path:
        """The file that standard output goes to."""
        return self.folder / "out"

    @property
    def state(self) -> Path:
        """The folder of the journal."""
        return self.folder / "state"

    @property
    def draft(self) -> list[Path]:
        """What calls are about while the journal is made."""
        return [self.state, self.state / "state.new", self.state / "state.new-journal"]

    @property
    def log(self) -> list[Path]:
        """Where commits are written."""
        return [self.state / "state.db-wal"]

    @property
    def database(self) -> list[Path]:
        """Where the log is taken to at the end."""
        return [self.state / "state.db"]

    @property
    def sums(self) -> list[Path]:
        """Where the checksums of the database are written each time the log was taken to it."""
        return [self.state / "state.db.sums-new"]

    @property
    def journal(self) -> list[Path]:
        """What calls are about once the journal is there."""
        names = ("state.db-shm", "state.lock")
        return [*(self.state / name for name in names), *self.database, *self.log]

    @property
    def files(self) -> list[Path]:
        """What a file sink's calls are about, and stdout's; the folder of all is not among it."""
        archive = self.folder / "archive"
        suffix = ".jsonl.gz" if self.protocol == "gzip" else ".jsonl"
        segments = [archive / f"events-{number:06d}{suffix}" for number in range(1, 60)]
        hidden = [self.folder / ".events.jsonl.levada", archive / ".events.levada"]
        return [self.folder / "events.jsonl", self.out, *segments, *hidden]

    @property
    def places(self) -> list[Path]:
        """The folders that a file sink writes in."""
        return [self.folder, self.folder / "archive"]

    def strike(self, blow: Blow) -> bool:
        """Start it under strace; return whether it was killed by *blow*."""
        calls, inject = blow.call, [f"inject={blow.call}:signal=KILL:when={blow.nth}"]
        if blow.slow:
            calls += f",{blow.slow}"
            inject.append(f"inject={blow.slow}:delay_enter={SLOW_US}")
        status, log = self._run_traced(calls, blow.paths, *inject)
        if status != -signal.SIGKILL:
            assert status == 0, self._last_words()
            return False
        self.deaths.append(death_in(log, blow.call))
        return True

    def strike_often(
        self,
        kills: int,
        strike: Callable[[], None] = lambda: None,
        mend: Callable[[], None] = lambda: None,
    ) -> None:
        """Kill it at any moment of its work, until that has hit it so many times.

        *strike* comes right before the kill, *mend* when it is dead.
        """
        for moment_s in islice(moments(self.protocol), TRIES * kills):
            with self._ready() as process:
                _let_go(process)
                self._await_log(process)
                time.sleep(moment_s)
                assert process.poll() in {None, 0}, self._last_words()
                at_work = self._has_log()
                strike()
                process.kill()
                status = process.wait()
            mend()
            if status and at_work:
                self.deaths.append(Death(f"status {status}"))
            if len(self.deaths) == kills:
                return
        pytest.fail(f"of {TRIES * kills} blows only {len(self.deaths)} hit it at work")

    def _await_log(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until the journal is open, however slow the machine; it may be from before."""
        until = time.monotonic() + MOST_S
        while process.poll() is None and not self._has_log():
            assert time.monotonic() < until, "it does not open its journal"
            time.sleep(0.001)

    def _has_log(self) -> bool:
        """Whether the journal is open, or was when its process died: the last to leave removes it."""
        (log,) = self.log
        try:
            return log.stat().st_size > 0
        except FileNotFoundError:
            return False

    def trace(self, calls: str) -> str:
        """Let it work to its end under strace; return the calls it made about its files."""
        copies = [self.state / f"state.db.bak-v1{end}" for end in ("", ".new")]
        paths = [*self.draft, *self.journal, *copies, *self.files, *self.places]
        status, log = self._run_traced(calls, paths)
        assert status == 0, self._last_words()
        return log

    def finish(self) -> None:
        """Start it once more and leave it in peace, for as long as the test may take."""
        with self._ready() as process:
            _let_go(process)
            assert process.wait() == 0, self._last_words()

    def _run_traced(self, calls: str, paths: Sequence[Path], *inject: str) -> tuple[int, str]:
        """Let it work under strace; return its exit status and strace's log."""
        log = self._beside("strace")
        # No --seccomp-bpf: strace 6.1 then forgets the signal.
        options = ["-f", "-yy", "-s", "1", "-o", str(log), "-e", "signal=none", f"--trace={calls}"]
        options += [part for each in inject for part in ("-e", each)]
        options += [part for path in paths for part in ("-P", str(path))]
        with self._ready() as process:
            assert process.poll() is None, self._last_words()
            command = [str(STRACE), *options, "-p", str(process.pid)]
            with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
                assert strace.stderr
                said = strace.stderr.readline().decode()
                if "not permitted" in said:
                    pytest.skip(f"nobody may trace another process here: {said.strip()}")
                assert "attached" in said, said
                _let_go(process)
                status = process.wait(MOST_S)
        return status, log.read_text()

    @contextmanager
    def _ready(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Start it; it waits for `_let_go`, and does not outlive the body."""
        self.folder.mkdir(exist_ok=True)
        self.count += self.step
        arguments = [str(self.folder), self.protocol, str(self.count), self.url]
        with (
            self._beside("stderr").open("wb") as words,
            self._output() as output,
            subprocess.Popen(
                [sys.executable, str(VICTIM), *arguments],
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=words,
            ) as process,
        ):
            try:
                self._await(process)
                yield process
            finally:
                process.kill()
        if self.piped:
            self.outputs.append(self._beside("pipe").read_bytes())

    def _await(self, process: "subprocess.Popen[bytes]") -> None:
        until = time.monotonic() + MOST_S
        while process.poll() is None and "ready" not in self._last_words():
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.002)

    @contextmanager
    def _output(self) -> Iterator[IO[bytes]]:
        """Yield a pipe into a file of its own, or the file that all starts write to."""
        if not self.piped:
            with self.out.open("ab") as file:
                yield file
            return
        with (
            self._beside("pipe").open("wb") as file,
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file) as cat,  # noqa: S607
        ):
            assert cat.stdin
            yield cat.stdin

    def _beside(self, what: str) -> Path:
        """Return a place outside the folder, which may be a disk that loses power."""
        return self.folder.parent / f"{self.folder.name}-{what}"

    def _last_words(self) -> str:
        return self._beside("stderr").read_text()

    def _environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        paths = [str(TESTS), *([str(self.packages)] if self.packages else [])]
        return {**kept, "PYTHONPATH": os.pathsep.join(reversed(paths))}


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    """Let it begin its work."""
    assert process.stdin
    process.stdin.close()


def death_in(log: str, call: str) -> Death:
    """Read in strace's log at what the process died: a call that never returned."""
    died = [line for line in log.splitlines() if line.endswith(("= ?", "<unfinished ...>"))]
    found = next(filter(None, (re.search(rf"\b({call})\((.*)", line) for line in died[::-1])), None)
    assert found, f"killed, but not in {call}: {log[-500:]}"
    place = re.search(r'"(/[^"]*)"' if call in BY_NAME else r"<(/[^>]*|\w+:\[[^]]*\])", found[2])
    return Death(found[1], place[1] if place else "")


BY_NAME: Final = frozenset({"openat", "rename", "unlink"})
"""Calls that take a path, not a descriptor."""


def moments(seed: str) -> Iterator[float]:
    """Yield moments to kill at, in seconds, for ever; the same ones for the same *seed*.

    More of them are early: on a fast machine there is not much of a life to hit.
    """
    chance = random.Random(seed)  # noqa: S311  # a schedule that repeats
    while True:
        yield LATEST_S * chance.random() ** 2

"""A pipeline in a process of its own, made to be killed. It imports no pytest: it starts often.

Run as ``victim.py FOLDER PROTOCOL EVENTS [URL]``. It reads `RUNS` runs of EVENTS events each,
more at every start, and carries them to the sink of PROTOCOL, with its state in ``FOLDER/state``.
It says ``ready`` on standard error, begins at the end of its standard input, and ends with 1 if
not all was delivered.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from attrs import define

from core.doubles import CollectingSink, ScriptedSource, event, settings
from levada import Batch, Json, Partition, Pipeline, Secret, Setup, Sink, Source, SourceContext
from levada.journal.repair import repair
from levada.setup import SinkSetup, SourceSetup
from levada_file.sink import FileSink
from levada_stdout.sink import StdoutSink
from levada_webhook.sink import WebhookSink

RUNS: Final = 3
PAGE: Final = 4
PER_DELIVERY: Final = 5
PR_SET_PTRACER: Final = 0x59616D61
ANYBODY: Final = -1 & (1 << 64) - 1
SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROTATE_BYTES: Final = 6_000
LONG: Final = 1024 * 1024 - 8
"""An event that stdout cannot write in one piece."""


@define(slots=False, kw_only=True)
class QueueSource(Source):
    """A queue that forgets what is acknowledged: after that, only the journal has it."""

    name: ClassVar[str] = "queue"

    folder: Path
    events: int

    async def partitions(self, position: Json, ctx: SourceContext) -> AsyncIterator[Partition]:
        yield Partition("run-0")

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        for first in range(acknowledged(self.folder) + 1, self.events + 1, PAGE):
            last = min(first + PAGE - 1, self.events)
            batch = Batch([event(number, "run-0") for number in range(first, last + 1)])
            yield batch
            await batch.durable()
            with (self.folder / "acknowledged").open("ab", buffering=0) as acks:
                acks.write(b"%d\n" % last)


def acknowledged(folder: Path) -> int:
    """Return the last event that the queue has forgotten."""
    try:
        return int((folder / "acknowledged").read_bytes().split()[-1])
    except FileNotFoundError:
        return 0


def _one_file(folder: Path, _: str) -> Sink:
    return FileSink(path=folder / "events.jsonl", batch_size=PER_DELIVERY)


def _segments(folder: Path, _: str) -> Sink:
    return FileSink(path=folder / "archive", batch_size=PER_DELIVERY, rotate_bytes=ROTATE_BYTES)


def _a_segment_each(folder: Path, _: str) -> Sink:
    return FileSink(path=folder / "archive", batch_size=PER_DELIVERY, rotate_bytes=1)


def _gzip(folder: Path, _: str) -> Sink:
    return FileSink(
        path=folder / "archive", compress="gzip", batch_size=PER_DELIVERY, rotate_bytes=1_500
    )


def _webhook(_: Path, url: str) -> Sink:
    return WebhookSink(url=url, secret=Secret(SECRET))


def _batches(_: Path, url: str) -> Sink:
    return WebhookSink(url=url, secret=Secret(SECRET), batch=True, batch_size=PER_DELIVERY)


def _stdout(_: Path, __: str) -> Sink:
    return StdoutSink(batch_size=PER_DELIVERY)


def _nothing(_: Path, __: str) -> Sink:
    return CollectingSink(batch_size=PER_DELIVERY)


SINKS: Final[Mapping[str, Callable[[Path, str], Sink]]] = {
    "file": _one_file,
    "segments": _segments,
    "segment each": _a_segment_each,
    "gzip": _gzip,
    "forgetful": _segments,
    "webhook": _webhook,
    "batches": _batches,
    "stdout": _stdout,
    "long lines": _stdout,
    "journal": _nothing,
    "queue": _nothing,
}


def sources(folder: Path, protocol: str, count: int) -> list[Source]:
    """Return the source of a protocol, with *count* events in each run; none without events."""
    if protocol == "queue":
        return [QueueSource(folder=folder, events=count)]
    size = LONG if protocol == "long lines" else 0
    runs = {
        f"run-{run}": [event(number, f"run-{run}", size=size) for number in range(1, count + 1)]
        for run in range(RUNS)
    }
    return [ScriptedSource(runs=runs, page=PAGE)] if count else []


def wait_for_the_test() -> None:
    """Let the test's strace attach, which where Yama watches needs our leave, and say go."""
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(ANYBODY))
    os.write(2, b"ready\n")
    os.read(0, 1)


async def main(folder: Path, protocol: str, count: int, url: str = "") -> bool:
    """Carry everything; return whether it arrived. Or only repair the journal."""
    if protocol == "repair":
        wait_for_the_test()
        repair(folder / "state")
        return True
    sink = SINKS[protocol](folder, url)
    setup = Setup(
        [SourceSetup.of(each) for each in sources(folder, protocol, count)],
        [SinkSetup.of(sink, name=sink.name)],
        settings(folder, retention=timedelta(days=0 if protocol == "forgetful" else 1)),
    )
    wait_for_the_test()
    report = await Pipeline(setup).run()
    for each in report.sinks:
        if each.reason:
            os.write(2, f"{each.reason}\n".encode())
    return report.ending == "done" and all(not each.pending for each in report.sinks)


if __name__ == "__main__":
    place, kind, number, *rest = sys.argv[1:]
    sys.exit(not asyncio.run(main(Path(place), kind, int(number), *rest)))

"""Carries 20,000 events into a file, killed again and again, then once to the end.

Run by a test as ``carry_and_kill.py FOLDER KILLS``. Everything is imported before the first
process is forked off, so its short life is spent in the pipeline. Prints how many were killed
while they were at work, and how many events were in the file by then.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

from core.doubles import ScriptedSource, events, setup
from levada import Batch, Pipeline
from levada_file.sink import FileSink

RUNS, EACH, PAGE = 25, 800, 20
PAUSE_S = 0.1
LIFE_S = 0.35


class SlowSource(ScriptedSource):
    """Takes its time, so that there is something to kill."""

    pause_s: ClassVar[float] = PAUSE_S

    async def _batches(self, key: str, start: int) -> AsyncIterator[Batch]:
        async for batch in super()._batches(key, start):
            await asyncio.sleep(self.pause_s)
            yield batch


def carry(folder: Path, source: ScriptedSource) -> None:
    sink = FileSink(path=folder / "out.jsonl", format="raw", batch_size=90)
    asyncio.run(Pipeline(setup(source, sink, at=folder)).run())


def is_killed_at_work(folder: Path, source: ScriptedSource, life_s: float) -> bool:
    process = os.fork()
    if process == 0:
        carry(folder, source)
        os._exit(0)
    time.sleep(random.uniform(0, life_s))  # noqa: S311  # any moment will do
    os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def main(folder: Path, kills: int) -> None:
    runs = {f"run-{n}": events(1, EACH, f"run-{n}") for n in range(RUNS)}
    out = folder / "out.jsonl"
    killed, life_s, lines = 0, LIFE_S, 0
    for _ in range(kills):
        killed += is_killed_at_work(folder, SlowSource(runs=runs, page=PAGE), life_s)
        lines = out.read_bytes().count(b"\n") if out.exists() else 0
        life_s *= 1 if lines else 1.1  # where the machine is busy nothing gets done in it
    sys.stdout.write(f"{killed} {lines}\n")
    sys.stdout.flush()
    carry(folder, ScriptedSource(runs=runs, page=500))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Keeps batches in a journal until it is killed; each position says how many events there are.

Run by a test as ``keep_for_ever.py FOLDER``.
"""

import asyncio
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import ClassVar

from attrs import define

from levada import Batch, Event, Partition, Settings, Source
from levada.batch import Checkpoint
from levada.journal import Journal
from levada.setup import SourceSetup

RUN = Partition("run-1")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@define(slots=False, kw_only=True)
class Runs(Source):
    name: ClassVar[str] = "scripted"


def event(number: int) -> Event:
    return Event(f"evt-{number}", type="t", time=NOW, partition="run-1", raw=b'{"n":%d}' % number)


async def main(folder: Path) -> None:
    async with Journal(Settings(state=folder / "state")) as journal:
        state = await journal.source(SourceSetup.of(Runs()), accept_identity_change=False)
        for kept in count(state.count("run-1"), 3):
            writes = [
                state.keep(RUN, Batch([event(kept + n) for n in range(3)], position=kept + 3)),
                state.checkpoint(Checkpoint(kept + 3)),
            ]
            await asyncio.gather(*writes)
            sys.stdout.write(f"{kept}\n")
            sys.stdout.flush()


asyncio.run(main(Path(sys.argv[1])))

"""Little distributions with plugins in them, installed into a folder as pip leaves them behind."""

from collections.abc import Container, Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from attrs import frozen

from integration.test_cli_process import Desk

ALL = [f"run-{run}/evt-{number}" for run in (1, 2) for number in range(10)]
"""What the well-behaved source, `numbers`, has: two runs of ten events each."""


def table(rows: Mapping[str, Any], *, quick: Container[str]) -> list[Any]:
    """Return the rows of a table as parameters; all but the *quick* ones are for `nox -s faults`."""
    return [
        pytest.param(
            *(row if isinstance(row, tuple) else (row,)),
            id=name,
            marks=() if name in quick else pytest.mark.faults,
        )
        for name, row in rows.items()
    ]


_HEAD = """\
import asyncio, os, subprocess, sys, time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from attrs import define, field
from levada import (
    Batch, Checkpoint, Closed, Delivery, Event, Fatal, Partition, Reject, Rejected, Retry, Sink, Source,
    StateError, TooLarge, hookimpl,
)

def event(number, run, **changes):
    return Event(**{
        "id": f"{run}/evt-{number}", "type": "tick", "time": datetime(2026, 1, 2, tzinfo=UTC),
        "partition": run, "raw": b'{"n":%d}' % number, **changes,
    })

def touch(name):
    Path(name).touch()
"""

_NUMBERS = """\
async def partitions(self, position, ctx):
    for run in ("run-1", "run-2"):
        yield Partition(run, version=1, final=True)

async def read(self, partition, position, ctx):
    for first in range(position or 0, 10, 5):
        events = [event(number, partition.key) for number in range(first, first + 5)]
        yield Batch(events, position=first + 5)
"""

_PRINTING = """\
async def write(self, delivery, ctx):
    with open(self.name + ".jsonl", "ab") as file:
        file.write(b"".join(line + b"\\n" for line in delivery.lines))
"""


@frozen
class Site:
    """A folder of installed plugins, and the folder of a pipeline that uses them."""

    folder: Path
    desk: Desk

    def source(self, name: str, body: str = "", *, top: str = "") -> None:
        """Install a source; what *body* does not define is as `numbers` has it."""
        self.install(name, _class("Source", name, body, _NUMBERS), top=top)

    def sink(self, name: str, body: str = "", *, top: str = "") -> None:
        """Install a sink; what *body* does not define appends to ``NAME.jsonl``."""
        self.install(name, _class("Sink", name, body, _PRINTING), top=top)

    def install(self, name: str, code: str, *, top: str = "", distribution: str = "") -> None:
        """Install version 1.0 of a distribution whose one module offers the connector *name*."""
        distribution = distribution or f"levada-{name}"
        module = distribution.replace("-", "_")
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{module}.py").write_text(f"{dedent(top)}\n{_HEAD}\n{code}")
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[levada]\n{name} = {module}\n")

    def pipeline(self, tables: str, settings: str = "", *, name: str = "p.toml") -> None:
        """Write a pipeline file; its journal is in a folder of the same name."""
        quick = 'poll_interval = "100ms"\ngive_up_after = "300ms"\nshutdown_timeout = "1s"\n'
        given = {line.partition(" ")[0] for line in settings.splitlines()}
        kept = [line for line in quick.splitlines() if line.partition(" ")[0] not in given]
        text = "\n".join([dedent(tables), "[pipeline]", *kept, settings])
        self.desk.write(name, text + "\n")


def _class(base: str, name: str, body: str, default: str) -> str:
    hook = f"event_{base.lower()}s"
    body = f'name = "{name}"\n{default}\n{dedent(body)}'
    return f"@define\nclass Bad({base}):\n{indent(body, '    ')}\n@hookimpl\ndef {hook}():\n    return [Bad]\n"

"""A plugin with an option of every type, for the tests of `levada.config` and `levada.describe`.

`installed` makes it a distribution on sys.path, so that the real registry finds it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import define, field, validators

from levada import (
    Batch,
    Delivery,
    Json,
    Partition,
    Secret,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    hookimpl,
    option,
)
from levada.plugins import Registry

MODULE = "core.test_config_samples"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@define(kw_only=True)
class Spring(Source):
    """Wells up out of the tests.

    This paragraph is not part of the summary.
    """

    name = "spring"

    key: Secret = option(help="The key.", env="SPRING_KEY")
    url: str = option(
        default="https://spring.test",
        help="Where it is.",
        validator=validators.matches_re("https?://.+"),
    )
    runs: Sequence[str] = option(default=(), help="Ids.")
    depth: int = option(
        default=3, help="How deep.", validator=[validators.ge(1), validators.le(100)]
    )
    share: float = option(
        default=0.5, help="How much.", validator=(validators.gt(0), validators.lt(1))
    )
    window: timedelta = option(default=timedelta(seconds=10), help="How far behind.")
    since: datetime | None = option(default=None, help="From when on.")
    loud: bool = option(default=False, help="Whether one hears it.")

    _state: dict[str, int] = field(init=False, factory=dict)

    def identity(self) -> str:
        return self.url

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        yield Batch([])


def _even(instance: object, attribute: object, value: int) -> None:
    if value % 2:
        raise ValueError("must be even")


def _under_limit(instance: "Basin", attribute: object, value: int) -> None:
    if value > instance.limit:
        raise ValueError("low is above limit")


@define(kw_only=True)
class Basin(Sink):
    """Holds what flows into it."""

    name = "basin"
    guarantee = "exactly once"

    path: Path = option(help="Where to.")
    secrets: Sequence[Secret] = option(default=(), help="One, or several while rotating.")
    token: Secret | None = option(default=None, help="If it asks for one.")
    spare: Secret | None = option(default=None, help="A spare.", env="BASIN_SPARE")
    compress: Literal["gzip"] | None = option(default=None, help="How to compress.")
    level: Literal[1, 2] = option(default=1, help="How hard.")
    colour: Colour = option(default=Colour.RED, help="Its colour.")
    headers: Mapping[str, str] = option(default={}, help="Sent along.")
    steps: list[timedelta] = option(
        default=[timedelta(0), timedelta(minutes=5)],
        help="Waits.",
        validator=validators.max_len(3),
    )
    tags: set[str] = option(default=frozenset(), help="Tags.", validator=validators.max_len(2))
    ports: tuple[int, ...] = option(
        default=(), help="Ports.", validator=validators.deep_iterable(validators.ge(1))
    )
    title: str = option(default="basin", help="Shown.", validator=validators.min_len(1))
    size: int | str = option(default=1, help="In words or numbers.")
    shape: str = option(
        default="round", help="Its shape.", validator=validators.in_(["round", "square"])
    )
    pairs: int = option(default=2, help="An even number.", validator=_even)
    limit: int = option(default=10, help="Upper bound of low.")
    low: int = option(default=0, help="Below limit.", validator=_under_limit)
    anything: Any = option(default=None, help="Whatever.")

    def __attrs_post_init__(self) -> None:
        if self.compress and self.title == "plain":
            raise ValueError("a plain title cannot be compressed")

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        return None


@define(kw_only=True)
class Odd(Sink):
    name = "odd"

    number: complex = option(default=1j, help="No file can hold it.")

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        return None


@define(kw_only=True)
class Clumsy(Sink):
    name = "clumsy"

    def __attrs_post_init__(self) -> None:
        raise ZeroDivisionError

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        return None


@hookimpl
def event_sources() -> list[type[Source]]:
    return [Spring]


@hookimpl
def event_sinks() -> list[type[Sink]]:
    return [Basin, Odd, Clumsy]


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Install the plugin, and one that cannot be imported, below *folder*."""
    info = folder / "site" / "samples-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: samples\nVersion: 1.0\n")
    points = [f"{name} = {MODULE}" for name in ("spring", "basin", "odd", "clumsy")]
    points += ["broken = no_such_module", "shattered = no_such_module"]
    info.joinpath("entry_points.txt").write_text("\n".join(["[levada]", *points]))
    monkeypatch.syspath_prepend(info.parent)
    return Registry()

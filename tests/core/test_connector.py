from collections.abc import Sequence
from typing import ClassVar

import attrs
import pytest
from attrs import define, field

from levada import Connector, Partition, Secret, Sink, Source, option
from levada.batch import Delivery
from levada.connector import secrets_of


@define(slots=False, kw_only=True)
class Spring(Connector):
    name: ClassVar[str] = "spring"

    url: str = option(help="Where it is.")
    key: Secret | None = option(default=None, env="SPRING_KEY", help="Its key.")
    others: Sequence[Secret] = option(default=[], help="More keys.")
    runs: list[str] = option(default=[], help="Which runs.")
    token: str = option(default="private", shown=False, help="Not for the log.")
    handle: object = field(default=None, init=False)


def test_an_option_without_a_default_is_required() -> None:
    with pytest.raises(TypeError, match="url"):
        Spring()


def test_an_option_has_its_help_and_its_variable() -> None:
    key = attrs.fields(Spring).key

    assert key.metadata == {"help": "Its key.", "env": "SPRING_KEY"}


def test_a_list_is_each_connectors_own() -> None:
    one, other = Spring(url="a"), Spring(url="b")

    one.runs.append("run-1")

    assert other.runs == []


def test_a_connector_does_not_show_what_is_not_to_be_shown() -> None:
    shown = repr(Spring(url="https://x.test", key=Secret("s3cr3t")))

    assert "https://x.test" in shown
    assert "private" not in shown
    assert "s3cr3t" not in shown


def test_every_secret_of_a_connector_is_found() -> None:
    first, second, third = Secret("1"), Secret("2"), Secret("3")

    assert secrets_of(Spring(url="a", key=first, others=[second, third])) == [first, second, third]
    assert secrets_of(Spring(url="a")) == []


async def test_a_connector_need_not_say_who_it_is_nor_be_closed() -> None:
    spring = Spring(url="a")

    await spring.close()

    assert spring.identity() == ""


@define(slots=False, kw_only=True)
class BareSource(Source):
    name: ClassVar[str] = "bare"


@define(slots=False, kw_only=True)
class BareSink(Sink):
    name: ClassVar[str] = "bare"


class Nowhere:
    """A context that offers nothing; what is tested here asks for nothing."""


async def test_a_source_is_one_single_feed_unless_it_says_otherwise() -> None:
    found = BareSource().partitions(None, Nowhere())  # type: ignore[arg-type]  # it is not used

    assert [each async for each in found] == [Partition("")]


async def test_a_source_has_to_read() -> None:
    with pytest.raises(NotImplementedError, match=r"BareSource\.read"):
        BareSource().read(Partition(""), None, Nowhere())  # type: ignore[arg-type]  # as above


async def test_a_sink_has_to_write() -> None:
    with pytest.raises(NotImplementedError, match=r"BareSink\.write"):
        await BareSink().write(Delivery([]), Nowhere())  # type: ignore[arg-type]  # as above


async def test_a_sink_trusts_the_journal_and_has_one_lane_unless_it_says_otherwise() -> None:
    sink = BareSink()

    held: object = await sink.resume({"offset": 1}, Nowhere())  # type: ignore[arg-type]  # as above

    assert (held, sink.lanes) == (None, 1)

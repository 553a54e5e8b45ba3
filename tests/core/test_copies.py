from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from attrs import evolve

from core.doubles import event, events
from levada import Origin, Partition
from levada.copies import in_plain_types, own_all, own_partition

ORIGIN = Origin("scripted", "acme", "urn:run-1")


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "other"


def test_what_is_done_to_a_copy_is_not_done_to_the_other() -> None:
    shared = [evolve(each, origin=ORIGIN) for each in events(1, 2)]

    for copy in own_all(shared):
        copy.__dict__["id"] = "other"
        object.__setattr__(copy.origin, "uri", "other")

    assert [each.id for each in shared] == ["evt-1", "evt-2"]
    assert ORIGIN.uri == "urn:run-1"


def test_neighbours_of_one_origin_share_its_copy() -> None:
    first, second = own_all([evolve(each, origin=ORIGIN) for each in events(1, 2)])

    assert first.origin is second.origin
    assert first.origin == ORIGIN


def test_a_time_becomes_one_in_utc() -> None:
    east = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))

    plain = in_plain_types(evolve(event(1), time=east))

    assert plain.time == east
    assert plain.time.tzinfo is UTC


@pytest.mark.parametrize("name", ["id", "type", "partition", "subject", "kind"])
def test_text_of_any_kind_becomes_plain_text(name: str) -> None:
    changes: dict[str, Any] = {name: Text("this")}

    plain = in_plain_types(evolve(event(1), **changes))

    assert type(getattr(plain, name)) is str
    assert getattr(plain, name) == "this"


def test_a_partition_keeps_nothing_that_can_be_changed() -> None:
    memo = {"of": ["a"]}
    partition = own_partition(Partition(Text("run-1"), memo=memo, order=Text("b")))

    memo["of"].clear()

    assert partition == Partition("run-1", memo={"of": ["a"]}, order="b")
    assert type(partition.key) is type(partition.order) is str

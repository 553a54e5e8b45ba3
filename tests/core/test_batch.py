import asyncio
import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from core.doubles import event, events
from levada import Batch, Delivery, Event, Origin, Rejected
from levada.batch import sortable

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")


def placed(found: Event, seq: int = 1, origin: Origin = ORIGIN) -> Event:
    return evolve(found, origin=origin, seq=seq)


async def test_a_batch_tells_those_who_wait_when_it_is_durable() -> None:
    batch = Batch(events(1, 2))
    waiting = asyncio.create_task(batch.durable())
    await asyncio.sleep(0)
    before = waiting.done()

    batch.mark_durable()

    await asyncio.wait_for(waiting, 1)
    assert not before


def test_what_was_rejected_does_not_show_itself() -> None:
    assert "private" not in repr(Rejected(b"private", reason="no id"))


def test_a_delivery_has_the_number_of_its_last_event() -> None:
    assert Delivery([placed(event(1), 4), placed(event(2), 9)]).seq == 9


def test_a_delivery_keeps_its_name_over_attempts_and_journals() -> None:
    first = Delivery([placed(event(1), seq=4)])
    again = Delivery([placed(event(1), seq=99)], attempt=7, format="raw")

    assert first.id == again.id


def test_the_kind_of_an_event_is_not_part_of_a_deliverys_name() -> None:
    assert Delivery([placed(event(1))]).id == Delivery([placed(event(1, kind=None))]).id


def test_a_deliverys_name_never_changes_between_versions() -> None:
    assert Delivery([placed(event(1))]).id == "evt_5h9amd7fpmd2tq9bk3vodoj396"


@pytest.mark.parametrize(
    "other",
    [
        placed(event(2)),
        placed(event(1, "run-2")),
        placed(event(1), origin=evolve(ORIGIN, account="umbrella")),
        placed(event(1), origin=evolve(ORIGIN, connector="stevora")),
    ],
    ids=["id", "partition", "account", "connector"],
)
def test_another_event_makes_another_name(other: Event) -> None:
    assert Delivery([placed(event(1))]).id != Delivery([other]).id


def test_parts_of_a_name_cannot_be_shifted() -> None:
    left = Event("bc", type="t", time=event(1).time, partition="a", raw=b"{}")
    right = Event("c", type="t", time=event(1).time, partition="ab", raw=b"{}")

    assert Delivery([left]).id != Delivery([right]).id


@given(st.text(st.characters()), st.text(st.characters()))
def test_a_deliverys_name_fits_a_webhook_header(name: str, partition: str) -> None:
    found = Event(name, type="t", time=event(1).time, partition=partition, raw=b"{}")

    assert re.fullmatch(r"evt_[0-9a-v]{26}", Delivery([found]).id)


def test_a_delivery_has_a_line_for_each_event() -> None:
    delivery = Delivery([placed(event(1)), placed(event(2), 2)])

    assert [json.loads(line)["id"] for line in delivery.lines] == ["evt-1", "evt-2"]


def test_a_raw_delivery_has_the_vendors_own_bytes() -> None:
    delivery = Delivery(events(1, 2), format="raw")

    assert delivery.lines == [event(1).raw, event(2).raw]


MOMENTS = st.datetimes(
    timezones=st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001  # the strategy wants it bare
    max_value=datetime(2999, 1, 1),  # noqa: DTZ001  # as above
)


@pytest.mark.parametrize(
    "strategy",
    [MOMENTS, st.integers(0, 10**19), st.text()],
    ids=["moments", "numbers", "texts"],
)
@given(data=st.data())
def test_text_sorts_as_the_values_do(strategy: st.SearchStrategy[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(strategy))

    texts = sorted(sortable(value) or "" for value in values)

    assert texts == [sortable(value) or "" for value in sorted(values)]


def test_what_sorts_already_stays_as_it_is() -> None:
    written = sortable(datetime(2026, 1, 2, tzinfo=UTC))

    assert sortable(written) == written
    assert sortable(None) is None

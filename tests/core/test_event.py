import pytest
from attrs.exceptions import FrozenInstanceError

from core.doubles import START, event
from levada import Event, Origin

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")


def test_the_record_is_parsed_once() -> None:
    found = event(3)

    assert found.data == {"n": 3, "of": "run-1"}
    assert found.data is found.data


def test_an_event_does_not_show_its_record() -> None:
    found = Event("1", type="t", time=START, partition="p", raw=b'{"text":"private"}')

    assert "private" not in repr(found)


def test_an_event_cannot_be_changed_by_chance() -> None:
    with pytest.raises(FrozenInstanceError):
        event(1).id = "2"  # type: ignore[misc]  # that is the point


def test_an_event_is_placed_by_the_host() -> None:
    found = event(1)

    found.place(ORIGIN, 7)

    assert (found.origin, found.seq) == (ORIGIN, 7)

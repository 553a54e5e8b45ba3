"""Lists that never end."""

import json
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import define, field

from faults.upstream import Upstream, Where, asks_for, upstream
from levada.sandbox import Fault, RecordedRequest

Page: TypeAlias = dict[str, Any]


@define
class Endless:
    """Answers one kind of list with its first page for ever, altered each time.

    The detail of an execution is none, and is not there.
    """

    where: Where
    alter: Callable[[Page], Page]
    _first: dict[str, Page] = field(factory=dict, init=False)

    def __call__(self, request: RecordedRequest) -> Fault | None:
        if asks_for(request) != self.where:
            return None
        if request.segments[-2] == "workflow_executions":
            return Fault.status(404)
        if request.path in self._first:
            return Fault.body(self._altered(request.path))

        def remember(body: bytes) -> bytes:
            self._first[request.path] = json.loads(body)
            return self._altered(request.path)

        return Fault.rewrite(remember)

    def _altered(self, path: str) -> bytes:
        return json.dumps(self.alter(dict(self._first[path]))).encode()


def leads_on(cursors: Iterator[str], *, rows: bool = True) -> Callable[[Page], Page]:
    def alter(page: Page) -> Page:
        following = next(cursors)
        data = page["data"] if rows else []
        return {"data": data, "paging": {"next": following, "cursors": {"after": following}}}

    return alter


CURSORS: dict[str, Callable[[], Callable[[Page], Page]]] = {
    "the same cursor for ever": lambda: leads_on(cycle("a")),
    "two cursors in turn": lambda: leads_on(cycle("ab")),
    "five cursors in turn": lambda: leads_on(cycle("abcde")),
    "a cycle that is entered late": lambda: leads_on(iter(["x", "y", *"abc" * 99])),
    "fresh cursors without news": lambda: leads_on(map(str, count())),
    "empty pages without end": lambda: leads_on(map(str, count()), rows=False),
    "empty pages in a circle": lambda: leads_on(cycle("abc"), rows=False),
}


@pytest.fixture
def kapso(tmp_path: Path) -> Iterator[Upstream]:
    with upstream("kapso", tmp_path) as running:
        yield running


@pytest.fixture
def stevora(tmp_path: Path) -> Iterator[Upstream]:
    with upstream("stevora", tmp_path) as running:
        yield running


def some(names: dict[str, Any], *, quick: str) -> list[object]:
    return [
        pytest.param(each, id=each, marks=() if each == quick else pytest.mark.faults)
        for each in names
    ]


@pytest.mark.parametrize("where", ["lists", "events"])
@pytest.mark.parametrize("name", some(CURSORS, quick="two cursors in turn"))
def test_cursors_that_lead_nowhere_are_followed_a_few_times(
    kapso: Upstream, where: Where, name: str
) -> None:
    kapso.server.faults = Endless(where, CURSORS[name]())
    failed = kapso.run()
    kapso.heal()
    healed = kapso.run()

    assert failed.code == 75, failed.err
    assert "its end was not reached" in failed.err
    assert failed.requests <= 100
    assert failed.seconds < 8
    assert healed.code == 0, healed.err
    assert kapso.delivered == kapso.expected


def counted(total: object, *, rows: bool = True) -> Callable[[Page], Page]:
    return lambda page: {
        **page,
        "data": page["data"] if rows else [],
        "meta": {"page": 1, "pageSize": 100, "total": total},
    }


def growing() -> Callable[[Page], Page]:
    totals = count(10**6, 100)

    def alter(page: Page) -> Page:
        return counted(next(totals))(page)

    return alter


PAGES: dict[str, Callable[[], Callable[[Page], Page]]] = {
    "the first page for ever": lambda: counted(10**9),
    "the first page, and more each time": growing,
    "the first page without a total": lambda: counted(None),
    "no meta": lambda: lambda page: {"success": True, "data": page["data"]},
    "empty pages without end": lambda: counted(10**9, rows=False),
    "a total below zero": lambda: counted(-1),
    "a total that is text": lambda: counted("many"),
}


@pytest.mark.parametrize("where", ["lists", "events"])
@pytest.mark.parametrize("name", some(PAGES, quick="the first page for ever"))
def test_pages_that_repeat_are_asked_for_a_few_times(
    stevora: Upstream, where: Where, name: str
) -> None:
    stevora.server.faults = Endless(where, PAGES[name]())
    first = stevora.run()
    stevora.heal()
    healed = stevora.run(*_each(stevora))

    assert first.code == (75 if name == "empty pages without end" else 0), first.err
    assert first.requests <= 100
    assert first.seconds < 8
    assert healed.code == 0, healed.err
    assert stevora.delivered == stevora.expected


def test_a_list_whose_pages_repeat_is_said_to_be_incomplete(stevora: Upstream) -> None:
    stevora.server.faults = Endless("lists", counted(20))

    first = stevora.run()

    assert "list.incomplete lacks=" in first.err
    assert "total=20" in first.err


def _each(up: Upstream) -> list[str]:
    runs = up.server.world.runs  # type: ignore[union-attr]  # it is Stevora's
    return [word for key in runs for word in ("--execution", f"stevora={key}")]


def _shows_nothing(number: str, times: int) -> Callable[[RecordedRequest], Fault | None]:
    """Show no runs on a page, so many times; what is counted stays."""
    left = [times]

    def fault(request: RecordedRequest) -> Fault | None:
        if asks_for(request) != "lists" or request.query["page"] != number or not left[0]:
            return None
        left[0] -= 1
        return Fault.rewrite(lambda body: json.dumps({**json.loads(body), "data": []}).encode())

    return fault


@pytest.mark.parametrize("number", ["1", "2"])
@pytest.mark.parametrize("times", [2, 99])
def test_a_page_of_runs_that_shows_nothing_for_a_while_hides_none(
    stevora: Upstream, number: str, times: int
) -> None:
    stevora.options = "page_size = 1\n"
    stevora.settings = stevora.settings.replace("300ms", "20s")
    stevora.server.faults = _shows_nothing(number, times)
    done = stevora.run()

    if times > 2:
        assert done.code == (0 if number == "2" else 75), done.err
        assert len(stevora.delivered) < len(stevora.expected)
        stevora.heal()
        done = stevora.run()
    assert done.code == 0, done.err
    assert stevora.delivered == stevora.expected


@pytest.mark.parametrize("where", ["lists", "events"])
@pytest.mark.parametrize("paging", [{}, None, {"cursors": None}])
def test_a_full_page_that_does_not_say_what_follows_is_not_taken_for_the_last(
    kapso: Upstream, where: Where, paging: object
) -> None:
    kapso.options = "page_size = 2\n"

    def fault(request: RecordedRequest) -> Fault | None:
        if asks_for(request) != where or request.segments[-1] == "workflows":
            return None
        if request.segments[-2] == "workflow_executions":
            return Fault.status(404)
        return Fault.rewrite(
            lambda body: json.dumps({**json.loads(body), "paging": paging}).encode()
        )

    kapso.server.faults = fault
    failed = kapso.run()
    kapso.heal()
    healed = kapso.run()

    assert failed.code == 75, failed.err
    assert "does not say what follows a full page" in failed.err
    assert healed.code == 0, healed.err
    assert kapso.delivered == kapso.expected


def test_a_full_page_without_a_next_is_followed_by_its_own_cursor(kapso: Upstream) -> None:
    kapso.options = "page_size = 2\n"

    def without_next(body: bytes) -> bytes:
        page = json.loads(body)
        if "next" in page.get("paging", {}) and page["paging"]["next"] is not None:
            del page["paging"]["next"]
        return json.dumps(page).encode()

    kapso.server.faults = lambda _: Fault.rewrite(without_next)

    done = kapso.run()

    assert done.code == 0, done.err
    assert kapso.delivered == kapso.expected


def test_a_list_that_is_not_there_in_the_middle_is_read_again(kapso: Upstream) -> None:
    kapso.options = "page_size = 1\n"
    kapso.server.faults = lambda request: (
        Fault.status(404) if asks_for(request) == "lists" and "after" in request.query else None
    )
    failed = kapso.run()
    kapso.heal()
    healed = kapso.run()

    assert failed.code == 75, failed.err
    assert healed.code == 0, healed.err
    assert kapso.delivered == kapso.expected


def test_a_workflow_whose_list_is_not_there_is_looked_at_again(kapso: Upstream) -> None:
    kapso.server.faults = lambda request: (
        Fault.status(404) if request.segments[-1] == "executions" else None
    )
    gone = kapso.run()
    kapso.heal()
    healed = kapso.run()

    assert "workflow.gone" in gone.err
    assert healed.code == 0, healed.err
    assert kapso.delivered == kapso.expected

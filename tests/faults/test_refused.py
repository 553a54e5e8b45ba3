"""Answers that say no: for good, or for now."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from faults.upstream import KEY, Upstream, Where, asks_for, upstream
from levada.sandbox import Fault, RecordedRequest, Response, Server, run_in_thread


@pytest.mark.parametrize(
    ("where", "status"),
    [
        pytest.param(
            where, status, marks=() if (where, status) == ("lists", 403) else pytest.mark.faults
        )
        for where in ("lists", "events")
        for status in (400, 401, 403)
    ],
)
def test_a_refusal_for_good_is_exit_4_after_one_request(
    up: Upstream, where: Where, status: int
) -> None:
    up.fail(Fault.status(status), where)

    done = up.run()

    (line,) = [line for line in done.err.splitlines() if line.startswith("!!")]
    assert done.code == 4, done.err
    assert f"{status} from " in line
    hint = f"the key came from environment variable {up.vendor.upper()}_API_KEY"
    assert (hint in line) == (status != 400)
    asked = [request for request in up.server.requests if "events" in request.path]
    assert len(asked if where == "events" else up.server.requests) <= (
        3 if where == "events" else 2
    )
    assert done.seconds < 5


@pytest.mark.parametrize(
    "status",
    [400, *(pytest.param(each, marks=pytest.mark.faults) for each in (405, 410, 414, 422))],
)
def test_one_execution_that_is_refused_holds_up_no_other(up: Upstream, status: int) -> None:
    refused = list[str]()

    def refuse(request: RecordedRequest) -> Fault | None:
        """Refuse whatever is asked of the first one that is asked for."""
        if asks_for(request) != "events":
            return None
        *_, key = [part for part in request.segments if part != "events"]
        refused[:] = refused or [key]
        return Fault.status(status) if key == refused[0] else None

    up.server.faults = refuse
    done = up.run()

    is_gone = status == 410
    assert done.code == (0 if is_gone else 75), done.err
    assert f"{status} from" in done.err
    assert len(up.delivered) == len(up.expected) * 2 // 3

    up.heal()
    healed = up.run()

    assert healed.code == 0, healed.err
    assert is_gone or up.delivered == up.expected


@pytest.mark.parametrize(
    "status", [*(pytest.param(each, marks=pytest.mark.faults) for each in (404, 505)), 501]
)
def test_a_list_that_is_not_there_is_exit_4_after_one_request(up: Upstream, status: int) -> None:
    up.fail(Fault.status(status), "lists")

    done = up.run()

    assert done.code == 4, done.err
    assert f"{status} from GET http://127.0.0.1" in done.err
    assert done.requests == 1


@pytest.mark.faults
@pytest.mark.parametrize("status", [501, 505])
def test_what_a_server_cannot_do_is_not_tried_again(up: Upstream, status: int) -> None:
    up.fail(Fault.status(status), "events")

    done = up.run()
    up.heal()
    healed = up.run()

    assert done.code == 4, done.err
    assert done.requests <= 10
    assert healed.code == 0
    assert up.delivered == up.expected


@pytest.mark.faults
def test_events_that_are_not_there_for_a_moment_are_read_later(up: Upstream) -> None:
    up.fail(Fault.status(404), "events")
    gone = up.run()
    up.heal()
    healed = up.levada("run", "p.toml", *_each_by_id(up))

    assert gone.code == 0, gone.err
    assert up.delivered == up.expected
    assert healed.code == 0


@pytest.mark.faults
@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_detail_that_cannot_be_had_is_done_without(tmp_path: Path, status: int) -> None:
    with upstream("kapso", tmp_path) as up:
        up.options = "page_size = 2\n"  # more pages than one: the detail would be cheaper
        up.server.faults = lambda request: (
            Fault.status(status) if request.segments[-2] == "workflow_executions" else None
        )

        done = up.run()

        assert done.code == 0, done.err
        assert up.delivered == up.expected


def _each_by_id(up: Upstream) -> list[str]:
    world = up.server.world
    keys = world.executions if up.vendor == "kapso" else world.runs  # type: ignore[union-attr]  # it is that vendor's
    return [word for key in keys for word in ("--execution", f"{up.vendor}={key}")]


# ── elsewhere ───────────────────────────────────────────────────────────────────────────────────


class Trap(Server):
    """Another host, which must hear nothing."""

    async def respond(self, request: RecordedRequest) -> Response:
        return Response(200, b"{}")


@pytest.mark.parametrize("status", [302, pytest.param(308, marks=pytest.mark.faults)])
def test_a_redirect_to_another_host_is_not_followed(up: Upstream, status: int) -> None:
    with run_in_thread(Trap()) as trap:
        up.fail(Fault.redirect(f"{trap.url}/platform?key={KEY}", status=status))

        done = up.run()

    assert trap.requests == []
    assert done.code == 4, done.err
    assert f"redirects to {trap.url}, which is not followed" in done.err
    assert done.requests == 1


@pytest.mark.faults
def test_a_redirect_on_the_same_host_is_not_followed_either(up: Upstream) -> None:
    up.fail(Fault.redirect("/somewhere-else", status=308))

    done = up.run()

    assert done.code == 4, done.err
    assert "308 from GET http://127.0.0.1" in done.err
    assert done.requests == 1


# ── later ───────────────────────────────────────────────────────────────────────────────────────


def date(ahead: timedelta) -> str:
    return format_datetime(datetime.now(UTC) + ahead, usegmt=True)


AFTER: dict[str, Callable[[], str | None]] = {
    "seconds": lambda: "1",
    "a date": lambda: date(timedelta(seconds=2)),
    "a past date": lambda: date(-timedelta(days=1)),
    "none": lambda: None,
    "zero": lambda: "0",
    "negative": lambda: "-5",
    "not a number": lambda: "NaN",
    "infinite": lambda: "inf",
    "garbage": lambda: "soon, \x7f\xff" + "x" * 500,
    "a date that is none": lambda: "Thu, 99 Jan 2026 99:99:99 GMT",
    "too many digits": lambda: "0." + "0" * 5_000,
}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        pytest.param(
            status,
            name,
            id=f"{status}-{name}",
            marks=() if (status, name) == (429, "garbage") else pytest.mark.faults,
        )
        for status, names in ((429, [*AFTER]), (503, ["a date", "negative"]))
        for name in names
    ],
)
def test_a_wait_is_as_long_as_told_or_short(up: Upstream, status: int, name: str) -> None:
    up.settings = up.settings.replace("300ms", "20s")
    refusal = Fault.status(status, retry_after=AFTER[name]())
    up.server.faults = [None, refusal, None, refusal]

    done = up.run()

    assert done.code == 0, done.err
    assert up.delivered == up.expected
    assert done.seconds < 9


@pytest.mark.parametrize("status", [429, pytest.param(503, marks=pytest.mark.faults)])
@pytest.mark.parametrize("after", ["3600", pytest.param("9" * 400, marks=pytest.mark.faults)])
def test_a_wait_that_is_too_long_is_left_to_the_next_run(
    up: Upstream, status: int, after: str
) -> None:
    up.fail(Fault.status(status, retry_after=after))

    done = up.run()
    up.heal()
    healed = up.run()

    assert done.code == 75, done.err
    assert done.requests <= 4
    assert done.seconds < 5
    assert healed.code == 0
    assert up.delivered == up.expected

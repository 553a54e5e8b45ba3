"""A sink that breaks its promises: contained, named, and alone with it."""

import json
import signal
from typing import Any

import pytest

from integration.test_cli_process import until
from plugin_faults.site import ALL, Site, table

TABLES = "[sources.numbers]\n[sinks.bad]\n[sinks.file]\npath = 'out.jsonl'\n"

RAISING = {
    "open": "async def open(self, ctx): {}",
    "resume": "async def resume(self, receipt, ctx): {}",
    "write": "async def write(self, delivery, ctx): {}",
    "close": "async def close(self): {}",
}
AT_START = {"open", "resume"}

RAISED = {
    "error": "ValueError('a secret')",
    "exit": "SystemExit(0)",
    "interrupt": "KeyboardInterrupt()",
    "generator exit": "GeneratorExit()",
    "cancelled": "asyncio.CancelledError()",
    "the host's own": "StateError('the journal is gone')",
}

QUICK = {
    "resume says yes",
    "write returns no JSON",
    "write rejects what it was not given",
    "write rejects for nothing",
}

REJECT = """\
async def write(self, delivery, ctx):
    given = [(each.partition, each.id) for each in delivery.events]
    reject = Reject({{}})
    reject.reasons = {}
    raise reject
"""

WRONG = {
    "resume says yes": (
        "async def resume(self, receipt, ctx): return True",
        "returned bool from resume(); it must be an int or None",
    ),
    "resume says text": (
        "async def resume(self, receipt, ctx): return '7'",
        "returned str from resume(); it must be an int or None",
    ),
    "resume is no coroutine": (
        "def resume(self, receipt, ctx): return 7",
        "returned int from resume(); it must be a coroutine",
    ),
    "open is no coroutine": (
        "def open(self, ctx): pass",
        "returned NoneType from open(); it must be a coroutine",
    ),
    "write is no coroutine": (
        "def write(self, delivery, ctx): pass",
        "returned NoneType from write(); it must be a coroutine",
    ),
    "write returns no JSON": (
        "async def write(self, delivery, ctx): return {1, 2}",
        "returned set from write(); it must be JSON",
    ),
    "write rejects what it was not given": (
        "async def write(self, delivery, ctx): raise Reject({('run-1', 'other'): 'no'})",
        "rejected an event from write() that is not in the delivery",
    ),
    "write rejects what is no event": (
        REJECT.format("{7: 'no'}"),
        "rejected an event from write() that is not in the delivery",
    ),
    "write rejects for nothing": (
        REJECT.format("dict.fromkeys(given)"),
        "rejected an event from write() with a reason of NoneType; it must be str",
    ),
    "write rejects for an exception": (
        REJECT.format("dict.fromkeys(given, ValueError('a secret'))"),
        "rejected an event from write() with a reason of ValueError; it must be str",
    ),
    "write rejects for half a character": (
        REJECT.format("dict.fromkeys(given, '\\ud800')"),
        "rejected an event from write() with a reason that is no Unicode text",
    ),
    "write rejects a list": (
        REJECT.format("given"),
        "raised a Reject from write() whose reasons are list; they must be a dict",
    ),
    "open waits for a text": (
        "async def open(self, ctx): raise Retry('no', after='5')",
        "raised Retry from open() whose after is str; it must be timedelta",
    ),
    "write cannot say why": (
        (
            "class Odd(Retry):\n    def __str__(self): raise ValueError\n"
            "async def write(self, delivery, ctx): raise self.Odd('no')"
        ),
        "raised Odd from write() whose reason or time cannot be told",
    ),
    "write waits for a number": (
        "async def write(self, delivery, ctx): raise Retry('no', after=5)",
        "raised Retry from write() whose after is int; it must be timedelta",
    ),
    "write closes beyond its end": (
        "async def write(self, delivery, ctx): raise Closed('gone', written=500)",
        "raised a Closed from write() that has written 500 of ",
    ),
    "write cancels its own task": (
        "async def write(self, delivery, ctx): asyncio.current_task().cancel(); await asyncio.sleep(0)",
        "cancelled the task that write() ran in",
    ),
    "resume says a number of 5,000 digits": (
        "async def resume(self, receipt, ctx): return 10**5000",
        "returned a number of more than 18 digits from resume()",
    ),
    "lanes that ask for patience": (
        "@property\ndef lanes(self): raise Retry('r')",
        "raised Retry from lanes",
    ),
    "no lanes": ("lanes = 0", "has 0 for lanes; it must be an int of at least 1"),
}


HANGING = {
    "waits": "touch('hangs'); await asyncio.sleep(60)",
    "blocks the loop": "touch('hangs'); time.sleep(60)",
    "blocks a thread": "touch('hangs'); await asyncio.to_thread(time.sleep, 20)",
    "ignores its cancellation": (
        "\n    touch('hangs')\n    while True:"
        "\n        try: await asyncio.sleep(60)\n        except asyncio.CancelledError: pass"
    ),
}


def accounts(site: Site) -> dict[str, dict[str, Any]]:
    """Return every sink's account, having seen that it is balanced."""
    done = site.desk.run("status", "p.toml", "--json")
    sinks = {sink["name"]: sink for sink in json.loads(done.stdout)["sinks"]}
    for sink in sinks.values():
        parts = ("delivered", "pending", "dead", "dropped", "filtered")
        assert sink["fetched"] == sum(sink[part] for part in parts)
    return sinks


@pytest.mark.parametrize("what", table(RAISED, quick={"error"}))
@pytest.mark.parametrize("method", RAISING)
def test_whatever_it_raises_is_its_own(site: Site, method: str, what: str) -> None:
    site.sink("bad", RAISING[method].format(f"raise {what}"))
    site.pipeline(TABLES, "give_up_after = '60s'")

    done = site.desk.run("run", "p.toml")

    name = what.removeprefix("asyncio.").partition("(")[0]
    assert f"plugin 'bad' (levada-bad 1.0) raised {name} from {method}()" in done.stderr
    assert "Traceback" not in done.stderr
    assert "a secret" not in done.stderr
    assert (done.returncode, done.stdout) == (3, "")
    if method in AT_START:
        assert not (site.desk.folder / "out.jsonl").exists()
    else:
        assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
        pending = {"write": 20, "close": 0}[method]
        assert [each["pending"] for each in accounts(site).values()] == [pending, 0]


@pytest.mark.parametrize(("body", "blame"), table(WRONG, quick=QUICK))
def test_a_wrong_type_is_named(site: Site, body: str, blame: str) -> None:
    site.sink("bad", body)
    site.pipeline(TABLES, "give_up_after = '60s'")

    done = site.desk.run("run", "p.toml")

    assert f"plugin 'bad' (levada-bad 1.0) {blame}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 3
    if "write" in blame:
        assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
        assert [each["pending"] for each in accounts(site).values()] == [20, 0]


def test_what_it_does_to_a_delivery_reaches_nobody_else(site: Site) -> None:
    site.sink(
        "bad",
        """
        async def write(self, delivery, ctx):
            for event in delivery.events:
                event.__dict__.update(id="other", raw=b"{}", partition="other")
                event.data["n"] = 7
                object.__setattr__(event.origin, "uri", "other")
            delivery.events.clear()
        """,
    )
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert '"source":"other"' not in (site.desk.folder / "out.jsonl").read_text()
    assert [each["delivered"] for each in accounts(site).values()] == [20, 20]


@pytest.mark.parametrize("method", ["open", "resume"])
def test_one_that_hangs_before_its_first_write_holds_up_nobody(site: Site, method: str) -> None:
    site.sink("bad", RAISING[method].format("touch('hangs'); await asyncio.sleep(60)"))
    site.pipeline(TABLES, "request_timeout = '300ms'")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 75
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert f"sink 'bad' is failing: {method}() did not end in 0.3 s" in done.stderr


def test_one_that_hangs_in_close_is_left_behind(site: Site) -> None:
    site.sink("bad", RAISING["close"].format("await asyncio.sleep(60)"))
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert "plugin 'bad' (levada-bad 1.0) did not come back from close()" in done.stderr
    assert sorted(site.desk.ids("bad.jsonl")) == sorted(ALL)


@pytest.mark.parametrize("method", table({name: name for name in RAISING}, quick={"open", "write"}))
@pytest.mark.parametrize(
    "how", table({name: name for name in HANGING}, quick={"waits", "blocks the loop"})
)
def test_a_signal_ends_it_wherever_it_hangs(site: Site, method: str, how: str) -> None:
    site.sink("bad", RAISING[method].format(HANGING[how]))
    site.pipeline(TABLES)
    process = site.desk.start("run", "p.toml")
    until((site.desk.folder / "hangs").exists)

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=3)

    assert "Traceback" not in err
    assert "'bad'" in err
    if how == "waits":
        assert process.returncode == (3 if method == "close" else 0)
    else:
        assert process.returncode == 75
        assert "levada: sink 'bad' did not end in 2.0 s; ending without it." in err


def test_it_is_asked_for_its_lanes_once(site: Site) -> None:
    lanes = """
asked = 0

@property
def lanes(self):
    type(self).asked += 1
    if type(self).asked > 1:
        raise SystemExit(1)
    return 1
"""
    site.sink("bad", lanes)
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0, done.stderr
    assert sorted(site.desk.ids("bad.jsonl")) == sorted(ALL)
    assert "Traceback" not in done.stderr

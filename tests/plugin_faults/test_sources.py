"""A source that breaks its promises: contained, named, and alone with it."""

import json

import pytest

from integration.test_cli_process import until
from plugin_faults.site import ALL, Site, table

RAISING = {
    "open": "async def open(self, ctx): {}",
    "partitions": "async def partitions(self, position, ctx):\n    {}\n    yield",
    "read": "async def read(self, partition, position, ctx):\n    {}\n    yield",
    "close": "async def close(self): {}",
}

READ = "async def read(self, partition, position, ctx):\n    yield {}"

RAISED = {
    "error": "ValueError('a secret')",
    "exit": "SystemExit(0)",
    "interrupt": "KeyboardInterrupt()",
    "generator exit": "GeneratorExit()",
    "cancelled": "asyncio.CancelledError()",
    "the host's own": "StateError('the journal is gone')",
}

QUICK = {
    "partitions yields None for final",
    "partitions yields a version of 5,000 digits",
    "read cancels its own task",
    "partitions yields text",
    "a rejected text",
    "a time that UTC has not",
    "read is a coroutine",
    "a batch of text",
}

WRONG = {
    "read learns text": (
        "async def read(self, partition, position, ctx): yield Batch([], partition='q')",
        "yielded a Batch from read() whose partition is str; it must be a Partition",
    ),
    "read cannot say why": (
        (
            "class Odd(Retry):\n    def __str__(self): raise ValueError\n"
            "async def read(self, partition, position, ctx):\n    raise self.Odd('no')\n    yield"
        ),
        "raised Odd from read() whose reason or time cannot be told",
    ),
    "open waits for a text": (
        "async def open(self, ctx): raise Retry('no', after='5')",
        "raised Retry from open() whose after is str; it must be timedelta",
    ),
    "partitions yields text": (
        "async def partitions(self, position, ctx): yield 'run-1'",
        "yielded str from partitions(); it must be a Partition or a Checkpoint",
    ),
    "partitions yields a number for a key": (
        "async def partitions(self, position, ctx): yield Partition(7)",
        "yielded a Partition from partitions() whose key is int; it must be str",
    ),
    "partitions yields a version that is no JSON": (
        "async def partitions(self, position, ctx): yield Partition('a', version={1})",
        "yielded a Partition from partitions() whose version is set, which is no JSON",
    ),
    "partitions yields a key that is no text": (
        "async def partitions(self, position, ctx): yield Partition('\\ud800')",
        "yielded a Partition from partitions() whose key is '\\ud800', which is no Unicode text",
    ),
    "partitions yields a time without a zone": (
        "async def partitions(self, position, ctx): yield Partition('a', changed=datetime(2026, 1, 2))",
        "yielded a Partition from partitions() whose changed is datetime.datetime(2026, 1, 2, 0, 0); it must be an aware datetime",
    ),
    "partitions yields an order of another kind": (
        "async def partitions(self, position, ctx): yield Partition('a', order=1.5)",
        "yielded a Partition from partitions() whose order is float; it must be a datetime, an int or a str",
    ),
    "partitions yields None for final": (
        "async def partitions(self, position, ctx): yield Partition('a', final=None)",
        "yielded a Partition from partitions() whose final is NoneType; it must be a bool",
    ),
    "partitions yields a version of 5,000 digits": (
        "async def partitions(self, position, ctx): yield Partition('a', version=10**5000)",
        "yielded a Partition from partitions() whose version is int, which is no JSON",
    ),
    "partitions yields an order of 5,000 digits": (
        "async def partitions(self, position, ctx): yield Partition('a', order=10**5000)",
        "yielded a Partition from partitions() whose order has more than 18 digits",
    ),
    "partitions settles a list": (
        "async def partitions(self, position, ctx): yield Checkpoint('a', settled=[1])",
        "yielded a Checkpoint from partitions() whose settled is list; it must be a datetime, an int or a str",
    ),
    "partitions checkpoints an object": (
        "async def partitions(self, position, ctx): yield Checkpoint(object())",
        "yielded a Checkpoint from partitions() whose position is object, which is no JSON",
    ),
    "partitions cancels its own task": (
        "async def partitions(self, position, ctx):\n    asyncio.current_task().cancel(); await asyncio.sleep(0); yield",
        "cancelled the task that partitions() or read() ran in",
    ),
    "read cancels its own task": (
        "async def read(self, partition, position, ctx):\n    asyncio.current_task().cancel(); await asyncio.sleep(0); yield",
        "cancelled the task that partitions() or read() ran in",
    ),
    "a subject that is a list": (
        READ.format("Batch([event(1, partition.key, subject=['a'])])"),
        "yielded an Event from read() whose subject is list; it must be str",
    ),
    "a kind that is a number": (
        READ.format("Batch([event(1, partition.key, kind=5)])"),
        "yielded an Event from read() whose kind is int; it must be str",
    ),
    "a report that is no text": (
        "async def open(self, ctx): ctx.report(None)",
        "raised TypeError from open()",
    ),
    "a rejected text": (
        READ.format("Batch([], rejected=[Rejected('x', reason='r')])"),
        "yielded a Batch from read() that rejects a raw of str; it must be bytes",
    ),
    "a reason that is no text": (
        READ.format("Batch([], rejected=[Rejected(b'x', reason='\\ud800')])"),
        "yielded a Batch from read() that rejects for '\\ud800', which is no Unicode text",
    ),
    "a time that UTC has not": (
        READ.format(
            "Batch([event(1, partition.key,"
            " time=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))])"
        ),
        "yielded an Event from read() whose time is 0001-01-01 00:00:00+14:00; UTC has no such year",
    ),
    "partitions returns a list": (
        "def partitions(self, position, ctx): return []",
        "returned list from partitions(); it must be an async generator",
    ),
    "partitions is a coroutine": (
        "async def partitions(self, position, ctx): return []",
        "returned coroutine from partitions(); it must be an async generator",
    ),
    "read yields a dict": (
        READ.format("{}"),
        "yielded dict from read(); it must be a Batch",
    ),
    "read returns a list": (
        "def read(self, partition, position, ctx): return []",
        "returned list from read(); it must be an async generator",
    ),
    "read is a coroutine": (
        "async def read(self, partition, position, ctx): return []",
        "returned coroutine from read(); it must be an async generator",
    ),
    "a batch of text": (
        READ.format("Batch(['tick'])"),
        "yielded a Batch from read() that holds str; it must hold Events",
    ),
    "a batch of nothing": (
        READ.format("Batch(None)"),
        "yielded a Batch from read() whose events are NoneType; they must be a sequence",
    ),
    "a number for an id": (
        READ.format("Batch([event(1, partition.key, id=7)])"),
        "yielded an Event from read() whose id is int; it must be str",
    ),
    "text for a time": (
        READ.format("Batch([event(1, partition.key, time='now')])"),
        "yielded an Event from read() whose time is str; it must be datetime",
    ),
    "a time without a zone": (
        READ.format("Batch([event(1, partition.key, time=datetime(2026, 1, 2))])"),
        "yielded an Event from read() whose time has no zone; it must be aware",
    ),
    "text for a record": (
        READ.format("Batch([event(1, partition.key, raw='{}')])"),
        "yielded an Event from read() whose raw is str; it must be bytes",
    ),
    "a position that is no JSON": (
        READ.format("Batch([event(1, partition.key)], position={1, 2})"),
        "yielded a Batch from read() whose position is set, which is no JSON",
    ),
}


def carries(site: Site, code: int, blame: str) -> None:
    """See that `bad` fails as it should, while `numbers` is carried as if it were alone."""
    site.pipeline("[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert sorted(set(site.desk.ids("out.jsonl")) & set(ALL)) == sorted(ALL)
    assert f"plugin 'bad' (levada-bad 1.0) {blame}" in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (code, "")


@pytest.mark.parametrize("what", table(RAISED, quick={"error"}))
@pytest.mark.parametrize("method", RAISING)
def test_whatever_it_raises_is_its_own(site: Site, method: str, what: str) -> None:
    site.source("bad", RAISING[method].format(f"raise {what}"))

    carries(site, 3, f"raised {what.removeprefix('asyncio.').partition('(')[0]} from {method}()")


@pytest.mark.parametrize(("body", "blame"), table(WRONG, quick=QUICK))
def test_a_wrong_type_is_named(site: Site, body: str, blame: str) -> None:
    site.source("bad", body)

    carries(site, 3, blame)


@pytest.mark.parametrize("kind", ["Gone", "Fatal", "Retry"])
def test_a_failure_of_its_own_that_is_half_made_is_one(site: Site, kind: str) -> None:
    site.source(
        "bad",
        "async def read(self, partition, position, ctx):\n    raise Mine\n    yield",
        top=f"from levada import {kind}\nclass Mine({kind}):\n    def __init__(self): pass\n",
    )
    site.pipeline("[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert done.returncode == {"Gone": 0, "Fatal": 4, "Retry": 75}[kind]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", ["open", "partitions", "read"])
def test_what_its_configuration_is_wrong_about_is_told_as_such(site: Site, method: str) -> None:
    site.source("bad", RAISING[method].format("ctx.http('no-url')"))
    site.pipeline("[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 2
    assert "source 'bad': a URL must begin with https:// or http://" in done.stderr
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)


@pytest.mark.parametrize("command", ["run p.toml", "pull bad"])
def test_one_that_cancels_everything_ends_the_command(site: Site, command: str) -> None:
    site.source("bad", RAISING["read"].format("[each.cancel() for each in asyncio.all_tasks()]"))
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run(*command.split())

    assert done.returncode == 3
    assert "cancelled the whole command" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_it_read_before_it_stopped_is_delivered(site: Site) -> None:
    site.source(
        "bad",
        """
        async def read(self, partition, position, ctx):
            if partition.key == "run-2":
                raise Fatal("the key was withdrawn")
            yield Batch([event(number, partition.key) for number in range(10)], position=1)
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 4
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL[:10])


def test_one_that_finds_the_same_for_ever_leaves_others_their_turn(site: Site) -> None:
    site.source(
        "bad", "async def partitions(self, position, ctx):\n    while True: yield Partition('a')"
    )
    site.pipeline("[sources.bad]\n[sources.numbers]\n[sinks.file]\npath = 'out.jsonl'\n")
    process = site.desk.start("run", "p.toml")

    out = site.desk.folder / "out.jsonl"
    until(lambda: out.exists() and out.read_bytes().count(b"\n") >= len(ALL))
    process.terminate()
    process.communicate(timeout=5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("id=''", "it has no id"),
        ("id='\\ud800'", "a name in it is not Unicode text"),
        ("raw=b'no JSON'", "it is no JSON"),
        ("raw=b''", "it is no JSON"),
        ("raw=b'{}{}'", "it is no JSON"),
        ("raw=b'NaN'", "it is no JSON"),
        ("raw=b'['*201 + b']'*201", "it is nested too deeply"),
        ("raw=b'['*100_000 + b']'*100_000", "it is nested too deeply"),
        ("raw=b'1'*5_000", "it has a number of more than 4300 digits"),
    ],
)
def test_an_event_that_nobody_could_be_given_becomes_a_dead_letter(
    site: Site, changes: str, reason: str
) -> None:
    good = "event(2, partition.key)"
    site.source("bad", READ.format(f"Batch([event(1, partition.key, {changes}), {good}])"))
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0
    assert sorted(site.desk.ids("out.jsonl")) == ["run-1/evt-2", "run-2/evt-2"]
    assert site.desk.run("dead", "list", "p.toml").stdout.count(reason) == 2


@pytest.mark.parametrize("raw", [r"""b'{"a":"\\ud800"}'""", r"""b'{"a":"\xff\xc2\x9b"}'"""])
def test_a_record_that_only_needs_other_bytes_is_delivered(site: Site, raw: str) -> None:
    site.source("bad", READ.format(f"Batch([event(1, partition.key, raw={raw})])"))
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0
    assert sorted(site.desk.ids("out.jsonl")) == ["run-1/evt-1", "run-2/evt-1"]


@pytest.mark.parametrize("command", ["pull bad", "run p.toml --dry-run"])
def test_what_is_rejected_is_told_where_nothing_is_kept(site: Site, command: str) -> None:
    site.source("bad", READ.format("Batch([event(1, partition.key, id='')])"))
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run(*command.split())

    assert done.returncode == 0
    assert "2 items cannot be an event; the first: it has no id" in done.stderr


def test_what_is_rejected_one_by_one_is_not_lost(site: Site) -> None:
    rejected = "(Rejected(b'x%d' % n, reason='odd') for n in range(3))"
    site.source("bad", READ.format(f"Batch([], rejected={rejected}, position=1)"))
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    site.desk.run("run", "p.toml")

    assert len(site.desk.run("dead", "list", "p.toml").stdout.splitlines()) >= 6


def test_what_a_read_has_to_close_is_closed_before_the_source(site: Site) -> None:
    site.source(
        "bad",
        """
        async def read(self, partition, position, ctx):
            try:
                yield Batch(["wrong"])
            finally:
                await asyncio.sleep(0.1)
                print("read", partition.key, file=sys.stderr)

        async def close(self): print("closed", file=sys.stderr)
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    said = site.desk.run("run", "p.toml").stderr.splitlines()

    ours = [line for line in said if line in {"read run-1", "read run-2", "closed"}]
    assert ours[-1] == "closed"
    assert ours.count("read run-1") == ours.count("read run-2") == 3


ODD_IDS = ["a\0b", "a", "a\0", "\0"]


def test_ids_with_odd_characters_are_told_apart_over_runs(site: Site) -> None:
    site.source(
        "bad",
        f"""
        async def partitions(self, position, ctx):
            yield Partition("run-1")

        async def read(self, partition, position, ctx):
            known = await ctx.known("run-1", {ODD_IDS})
            print(len(known), file=sys.stderr)
            at = position or 0
            yield Batch([event(1, "run-1", id=name) for name in {ODD_IDS}[:at + 2]], position=at + 2)
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    runs = [site.desk.run("run", "p.toml") for _ in range(3)]

    assert [done.returncode for done in runs] == [0, 0, 0]
    assert [done.stderr.splitlines()[0] for done in runs] == ["0", "2", "4"]
    assert len(site.desk.ids("out.jsonl")) == 4


def test_what_it_yielded_before_it_broke_is_kept(site: Site) -> None:
    site.source(
        "bad",
        """
        async def read(self, partition, position, ctx):
            yield Batch([event(7, partition.key)], position=1)
            raise ValueError
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert sorted(site.desk.ids("out.jsonl")) == ["run-1/evt-7", "run-2/evt-7"]


def test_one_run_that_breaks_it_does_not_end_the_others(site: Site) -> None:
    site.source(
        "bad",
        """
        async def read(self, partition, position, ctx):
            if partition.key == "run-1":
                raise ValueError
            yield Batch([event(7, partition.key)], position=1)
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert site.desk.ids("out.jsonl") == ["run-2/evt-7"]
    assert "read.failed partition='run-1'" in done.stderr


def test_what_it_changes_after_yielding_it_changes_nothing(site: Site) -> None:
    site.source(
        "bad",
        """
        async def read(self, partition, position, ctx):
            events, position = [event(n, partition.key) for n in range(10)], {"at": 1}
            unfit, learnt = Rejected(b"{}", reason="no id"), Partition(partition.key, final=True)
            yield Batch(events, position=position, rejected=[unfit], partition=learnt)
            events[0].__dict__.update(id="other", raw=b"no json", partition="other")
            events[1].__dict__.update(type=5, time="now")
            object.__setattr__(unfit, "raw", None)
            object.__setattr__(learnt, "key", "other")
            events.clear()
            position["at"] = object()
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert (done.returncode, sorted(site.desk.ids("out.jsonl"))) == (0, sorted(ALL))
    assert "2 rejected" in done.stderr


@pytest.mark.parametrize("command", ["run p.toml --dry-run", "pull bad", "verify p.toml"])
@pytest.mark.parametrize(("how", "code"), [("RuntimeError('x')", 3), ("Retry('not now')", 75)])
def test_what_moves_no_position_says_as_a_run_does_why_it_could_not_be_read(
    site: Site, command: str, how: str, code: int
) -> None:
    site.pipeline("[sources.numbers]\n[sinks.file]\npath = 'out.jsonl'\n")
    site.desk.run("run", "p.toml")
    site.source(
        "bad", f"async def read(self, partition, position, ctx):\n    raise {how}\n    yield"
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n", "give_up_after = '100ms'")

    done = site.desk.run(*command.split())

    assert done.returncode == code, done.stderr
    assert ("plugin 'bad' (levada-bad 1.0)" if code == 3 else "run-1") in done.stderr
    assert site.desk.run("run", "p.toml").returncode == code


OWN_TYPES = """
from datetime import datetime

class Text(str):
    __str__ = __repr__ = __format__ = lambda *_: "other"

class Bytes(bytes):
    __bytes__ = lambda _: b"other"
    __len__ = lambda _: 0

class Time(datetime):
    isoformat = lambda *_, **__: "soon"
"""


def test_texts_and_times_of_its_own_types_are_taken_as_plain_ones(site: Site) -> None:
    site.source(
        "bad",
        """
        async def partitions(self, position, ctx):
            changed = Time(2026, 1, 2, tzinfo=UTC)
            for run in ("run-1", "run-2"):
                yield Partition(Text(run), version=1, order=Text("a"), changed=changed, uri=Text(run))

        async def read(self, partition, position, ctx):
            key, east = str.__str__(partition.key), timezone(timedelta(hours=2))
            yield Batch(
                [
                    event(
                        n, Text(key), id=Text(f"{key}/evt-{n}"), type=Text("tick"), raw=Bytes(b'{"n":1}'),
                        subject=Text("step"), kind=Text("tick"), time=Time(2026, 1, 2, 3, tzinfo=east),
                    )
                    for n in range(10)
                ],
                position=1,
                rejected=[Rejected(Bytes(b"[]"), reason=Text("no id"))],
                partition=Partition(key, uri=Text(key), changed=Time(2026, 1, 2, tzinfo=UTC)),
            )
        """,
        top=OWN_TYPES,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0, done.stderr
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    first = json.loads((site.desk.folder / "out.jsonl").read_text().partition("\n")[0])
    assert (first["source"], first["subject"]) == ("run-1", "step")
    assert (first["time"], first["data"]) == ("2026-01-02T01:00:00.000000Z", {"n": 1})
    assert site.desk.run("run", "p.toml").returncode == 0


@pytest.mark.parametrize(
    "ends",
    ["raise SystemExit(9)", "raise KeyboardInterrupt", "asyncio.get_running_loop().stop()"],
    ids=["exit", "interrupt", "stop"],
)
@pytest.mark.parametrize("command", ["run p.toml", "run p.toml --dry-run", "pull bad"])
def test_a_task_that_it_began_does_not_end_the_loop(site: Site, command: str, ends: str) -> None:
    site.source(
        "bad",
        f"""
        async def open(self, ctx):
            async def later():
                {ends}
            self.task = asyncio.create_task(later())

        async def read(self, partition, position, ctx):
            await asyncio.sleep(0.2)
            yield Batch([event(number, partition.key) for number in range(10)], position=1)
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run(*command.split())

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "something that a plugin began tried to end the process" in done.stderr
    if command == "run p.toml":
        assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    else:
        assert len(done.stdout.splitlines()) == len(ALL)


@pytest.mark.parametrize(
    ("body", "blame"),
    [
        ("return 5", "returned int from identity(); it must be Unicode text"),
        ("return None", "returned NoneType from identity(); it must be Unicode text"),
        ("raise SystemExit(9)", "raised SystemExit from identity()"),
    ],
)
@pytest.mark.parametrize("command", ["run", "status", "check"])
def test_an_identity_that_is_none_is_told_before_anything_begins(
    site: Site, command: str, body: str, blame: str
) -> None:
    site.source("bad", f"def identity(self): {body}")
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run(command, "p.toml")

    assert done.returncode == 3
    assert f"plugin 'bad' (levada-bad 1.0) {blame}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (site.desk.folder / "out.jsonl").exists()


@pytest.mark.parametrize("what", ["SystemExit(0)", "KeyboardInterrupt", "BaseException"])
def test_events_that_end_the_process_as_they_are_computed_end_only_their_read(
    site: Site, what: str
) -> None:
    computed = f"""
async def read(self, partition, position, ctx):
    def events():
        yield from ()
        raise {what}
    yield Batch(events(), position=1)
"""
    site.source("bad", computed)
    site.pipeline("[sources.bad]\n[sources.numbers]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert f"raised {what.partition('(')[0]} from read()" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)


def test_one_that_closes_a_standard_stream_spoils_no_file(site: Site) -> None:
    site.source(
        "bad",
        """
        async def open(self, ctx):
            os.close(2)

        async def read(self, partition, position, ctx):
            yield Batch([event(n, partition.key) for n in range(10)], position=1)
            await asyncio.sleep(60)
        """,
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")
    process = site.desk.start("run", "p.toml", "--follow")
    out = site.desk.folder / "out.jsonl"
    until(lambda: out.exists() and out.read_bytes().count(b"\n") == 20)

    process.terminate()
    process.communicate()

    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)

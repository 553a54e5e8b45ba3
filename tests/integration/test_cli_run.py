"""`levada run` against the sandbox: deliveries, failures, signals, exit codes."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from integration.test_cli_process import Desk, until
from levada.sandbox import KapsoWorld, Receiver, Sandbox

EVENTS = 6 * 8


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6), stevora=None) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    return desk


def pipeline(sandbox: Sandbox, sinks: str, settings: str = "") -> str:
    return dedent(f"""\
        [sources.kapso]
        base_url = "{sandbox.kapso.url}"
        {{sinks}}
        [pipeline]
        poll_interval = "100ms"
        {{settings}}
        """).format(sinks=sinks, settings=settings)


def ids_of(sandbox: Sandbox) -> set[str]:
    return {str(event.id) for event in sandbox.kapso.world.events}


def test_a_run_delivers_everything_and_says_so(desk: Desk, sandbox: Sandbox) -> None:
    done = desk.run("run", "p.toml")

    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(desk.ids("events.jsonl")) == sorted(ids_of(sandbox))
    assert f"{EVENTS} new events" in done.stderr
    assert f"file   {EVENTS} delivered" in done.stderr


def test_an_execution_can_be_asked_for_whatever_its_list_shows(
    desk: Desk, sandbox: Sandbox
) -> None:
    desk.run("run", "p.toml")
    world = sandbox.kapso.world
    execution = next(each for each in world.executions.values() if each.is_final)
    shown = execution.last_event_at
    new = world.add_event(execution.id, "afterthought")
    execution.last_event_at = shown
    desk.run("run", "p.toml")
    assert new.id not in desk.ids("events.jsonl")

    for option in ("--execution", "--run"):
        done = desk.run("run", "p.toml", option, f"kapso={execution.id}")
        assert (done.returncode, new.id in desk.ids("events.jsonl")) == (0, True)

    assert sorted(desk.ids("events.jsonl")) == sorted(ids_of(sandbox))


def test_an_execution_of_one_of_several_sources_needs_the_name_of_it(
    desk: Desk, sandbox: Sandbox
) -> None:
    more = f'[sources.more]\nuse = "kapso"\nbase_url = "{sandbox.kapso.url}"\n'
    text = pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"')
    desk.write("p.toml", more + text)

    unclear = desk.run("run", "p.toml", "--execution", "x1")
    unknown = desk.run("run", "p.toml", "--execution", "other=x1")

    assert (unclear.returncode, unknown.returncode) == (2, 2)
    assert "Put its name before it: more=x1" in unclear.stderr
    assert "no source 'other'; the sources: more, kapso" in unknown.stderr


def test_a_second_run_delivers_only_what_is_new(desk: Desk, sandbox: Sandbox) -> None:
    desk.run("run", "p.toml")
    before = len(sandbox.kapso.requests)
    sandbox.kapso.world.add_execution(events=3)

    done = desk.run("run", "p.toml")

    assert "3 new events" in done.stderr
    assert sorted(desk.ids("events.jsonl")) == sorted(ids_of(sandbox))
    assert len(sandbox.kapso.requests) - before < before


def test_json_goes_to_stdout(desk: Desk) -> None:
    done = desk.run("run", "p.toml", "--json")

    report = json.loads(done.stdout)
    assert (report["ending"], report["exit_code"]) == ("done", 0)
    assert report["sources"][0]["events"] == EVENTS
    assert report["sinks"][0]["delivered"] == EVENTS
    assert done.stderr == ""


def test_json_goes_to_stderr_if_events_go_to_stdout(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("out.toml", pipeline(sandbox, "[sinks.stdout]"))

    done = desk.run("run", "out.toml", "--json")

    assert len(done.stdout.splitlines()) == EVENTS
    assert json.loads(done.stderr)["exit_code"] == 0


def test_the_state_is_for_us_alone_and_files_have_their_mode(desk: Desk) -> None:
    desk.run("run", "p.toml")

    modes = {path.name: path.stat().st_mode & 0o777 for path in sorted(desk.folder.rglob("*"))}
    assert modes["p"] == 0o700
    assert modes["state.db"] == 0o600
    assert modes["events.jsonl"] == 0o640


def test_limit_ends_after_the_batch_that_reaches_it(tmp_path: Path) -> None:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=60), stevora=None) as sandbox:
        desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
        desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))

        done = desk.run("run", "p.toml", "--limit", 3, "--json")

    (source,) = json.loads(done.stdout)["sources"]
    assert 3 <= source["events"] < 60 * 8
    assert len(desk.ids("events.jsonl")) == source["events"]


@pytest.mark.parametrize("hint", ["", "kapso="])
def test_an_execution_without_an_id_is_refused(desk: Desk, hint: str) -> None:
    done = desk.run("run", "p.toml", "--execution", hint)

    assert done.returncode == 2
    assert "--execution needs the id of an execution" in done.stderr


def test_dry_run_prints_and_leaves_nothing(desk: Desk, sandbox: Sandbox) -> None:
    desk.write(
        "two.toml",
        pipeline(
            sandbox,
            '[sinks.file]\npath = "events.jsonl"\n'
            '[sinks.hook]\nuse = "webhook"\nurl = "http://127.0.0.1:9/"\nonly = "run.started"',
        ),
    )
    before = sorted(desk.folder.iterdir())

    done = desk.run("run", "two.toml", "--dry-run")

    assert done.returncode == 0
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == ids_of(sandbox)
    assert f"file would get {EVENTS}" in done.stderr
    assert "hook would get 6" in done.stderr
    assert sorted(desk.folder.iterdir()) == before


def test_dry_run_tells_what_it_found_as_json_beside_the_events(desk: Desk) -> None:
    done = desk.run("run", "p.toml", "--dry-run", "--limit", 5, "--json")

    found = json.loads(done.stderr)
    assert len(done.stdout.splitlines()) == found["events"] == 5
    assert found["would_get"] == {"file": 5}
    assert (found["exit_code"], found["errors"], found["rejected"]) == (0, [], 0)


@pytest.mark.parametrize(
    "option", [["--follow"], ["--strict"], ["--execution", "x"], ["--accept-identity-change"]]
)
def test_what_means_nothing_to_a_dry_run_is_refused(desk: Desk, option: list[str]) -> None:
    done = desk.run("run", "p.toml", "--dry-run", *option)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--dry-run goes with --limit and --json only" in done.stderr


def test_dry_run_stops_at_its_limit(desk: Desk) -> None:
    assert len(desk.run("run", "p.toml", "--dry-run", "--limit", 5).stdout.splitlines()) == 5


def test_a_wrong_key_is_one_line_that_names_the_variable(desk: Desk) -> None:
    done = desk.run("run", "p.toml", KAPSO_API_KEY="wrong-key-of-mine")

    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if "401" in line]
    assert "KAPSO_API_KEY" in line
    assert "wrong-key-of-mine" not in done.stderr + done.stdout


def test_a_dead_webhook_holds_up_nobody_and_gets_only_what_it_missed(
    desk: Desk, sandbox: Sandbox
) -> None:
    with Receiver.in_thread() as receiver:
        port = receiver.port  # nobody listens there once this ends
    sinks = (
        '[sinks.file]\npath = "events.jsonl"\n'
        f'[sinks.hook]\nuse = "webhook"\nurl = "http://127.0.0.1:{port}/"'
    )
    desk.write("two.toml", pipeline(sandbox, sinks, 'give_up_after = "1s"'))

    first = desk.run("run", "two.toml")
    with Receiver.in_thread(port=port) as receiver:
        second = desk.run("run", "two.toml")

    assert first.returncode == 75
    assert f"file   {EVENTS} delivered" in first.stderr
    assert "!!  sink 'hook' is failing" in first.stderr
    assert f"{EVENTS} events kept for it" in first.stderr
    assert second.returncode == 0
    assert sorted(receiver.event_ids) == sorted(ids_of(sandbox))
    assert len(desk.ids("events.jsonl")) == EVENTS


def test_a_gone_receiver_disables_its_sink(desk: Desk, sandbox: Sandbox) -> None:
    with Receiver.in_thread(answers=lambda _: (410, {}, 0.0)) as receiver:
        sinks = f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}"'
        desk.write("hook.toml", pipeline(sandbox, sinks))

        first = desk.run("run", "hook.toml")
        receiver.answers = []
        still = desk.run("run", "hook.toml")
        enabled = desk.run("enable", "hook.toml", "hook")
        after = desk.run("run", "hook.toml")

    assert (first.returncode, still.returncode) == (5, 5)
    assert "levada enable hook.toml hook" in first.stderr
    assert enabled.stdout.startswith("sink 'hook' is enabled again")
    assert after.returncode == 0
    assert sorted(receiver.event_ids) == sorted(ids_of(sandbox))


def test_strict_makes_dead_letters_count(desk: Desk, sandbox: Sandbox) -> None:
    with Receiver.in_thread(answers=lambda _: (400, {}, 0.0)) as receiver:
        sinks = f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}"\nschedule = ["0s"]'
        desk.write("hook.toml", pipeline(sandbox, sinks))
        desk.write("strict.toml", pipeline(sandbox, sinks))

        lax = desk.run("run", "hook.toml")
        strict = desk.run("run", "strict.toml", "--strict")

    assert (lax.returncode, strict.returncode) == (0, 7)
    assert f"{EVENTS} dead letters" in strict.stderr


def test_two_runs_on_one_state_are_refused(desk: Desk) -> None:
    first = desk.start("run", "p.toml", "--follow")
    until((desk.folder / "events.jsonl").exists)

    second = desk.run("run", "p.toml")

    assert second.returncode == 6
    assert f"in use by process {first.pid}" in second.stderr
    stop(first)


def test_a_closed_pipe_ends_quietly(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("out.toml", pipeline(sandbox, '[sinks.stdout]\n[sinks.file]\npath = "events.jsonl"'))
    process = desk.start("run", "out.toml")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(20) == 0
    until(lambda: len(desk.ids("events.jsonl")) == EVENTS)
    assert process.stderr is not None
    process.stderr.close()


def stop(process: "subprocess.Popen[str]", number: int = signal.SIGINT) -> tuple[float, str]:
    """Send a signal; return how long the process took to end, and its standard error."""
    began = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    return time.monotonic() - began, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_the_first_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    every = timedelta(milliseconds=50)
    with Sandbox.in_thread(stevora=None, grow_every=every) as sandbox:
        desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
        desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
        process = desk.start("run", "p.toml", "--follow")
        until(lambda: (tmp_path / "events.jsonl").exists() and len(desk.ids("events.jsonl")) > 100)

        took_s, err = stop(process, number)
        desk.run("run", "p.toml")

        assert process.returncode == 0
        assert took_s < 2
        assert "stopping: " in err
        assert "Resume with the same command." in err
        ids = desk.ids("events.jsonl")
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_the_second_signal_ends_it_at_once(
    desk: Desk, sandbox: Sandbox, number: int, code: int
) -> None:
    with Receiver.in_thread(answers=lambda _: (204, {}, 30.0)) as receiver:
        sinks = f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}"'
        desk.write("hook.toml", pipeline(sandbox, sinks))
        process = desk.start("run", "hook.toml", "--follow")
        until(lambda: receiver.deliveries)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)

        took_s, _ = stop(process, number)

    assert process.returncode == code
    assert took_s < 0.5


def test_a_failing_sink_makes_a_clean_stop_exit_75(desk: Desk, sandbox: Sandbox) -> None:
    with Receiver.in_thread(answers=lambda _: (500, {}, 0.0)) as receiver:
        sinks = f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}"'
        desk.write("hook.toml", pipeline(sandbox, sinks))
        process = desk.start("run", "hook.toml", "--follow")
        until(lambda: receiver.deliveries)
        time.sleep(0.2)

        _, err = stop(process)

    assert process.returncode == 75
    assert "sink 'hook' is failing: " in err


STUCK = """\
import time
from attrs import define
from levada import Sink, hookimpl

@define
class Stuck(Sink):
    name = "stuck"

    async def write(self, delivery, ctx):
        open("writing", "w").close()
        time.sleep(60)

@hookimpl
def event_sinks():
    return [Stuck]
"""


def test_what_does_not_end_is_named_and_left_behind(desk: Desk, sandbox: Sandbox) -> None:
    site = desk.folder / "site"
    package = site / "levada_stuck-1.dist-info"
    package.mkdir(parents=True)
    (site / "levada_stuck.py").write_text(STUCK)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: levada-stuck\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[levada]\nstuck = levada_stuck\n")
    desk.write("s.toml", pipeline(sandbox, "[sinks.stuck]", 'shutdown_timeout = "200ms"'))
    process = desk.start("run", "s.toml", PYTHONPATH=str(site))
    until((desk.folder / "writing").exists)

    took_s, err = stop(process)

    assert process.returncode == 75
    assert took_s < 3
    assert "levada: sink 'stuck' did not end in 1.2 s" in err


def test_a_live_source_needs_follow(desk: Desk, sandbox: Sandbox) -> None:
    site = desk.folder / "site"
    package = site / "levada_live-1.dist-info"
    package.mkdir(parents=True)
    (site / "levada_live.py").write_text(
        "from attrs import define\nfrom levada import Source, hookimpl\n"
        "@define\nclass Live(Source):\n    name = 'live'\n    live = True\n"
        "    async def read(self, partition, position, ctx):\n        yield\n"
        "@hookimpl\ndef event_sources():\n    return [Live]\n"
    )
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: levada-live\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[levada]\nlive = levada_live\n")
    desk.write("l.toml", "[sources.live]\n[sinks.stdout]\n")

    done = desk.run("run", "l.toml", PYTHONPATH=str(site))

    assert done.returncode == 2
    assert done.stderr == "levada: source 'live' listens for ever; add --follow\n"


def test_what_a_sink_says_of_its_configuration_is_a_problem_of_the_file(
    desk: Desk, sandbox: Sandbox
) -> None:
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
        '[sinks.alerts]\nuse = "webhook"\nurl = "https://127.0.0.1/"\nca_file = "none.pem"\n',
    )

    done = desk.run("run", "p.toml")

    assert done.returncode == 2
    assert f"levada: sink 'alerts': ca_file {desk.folder / 'none.pem'} cannot be" in done.stderr

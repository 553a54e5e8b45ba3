"""A source that hangs: the others are carried, and a signal ends it in time."""

import signal
import time

import pytest

from integration.test_cli_process import until
from plugin_faults.site import ALL, Site, table

METHODS = {
    "open": "async def open(self, ctx): {}",
    "partitions": "async def partitions(self, position, ctx):\n    {}\n    yield",
    "read": "async def read(self, partition, position, ctx):\n    {}\n    yield",
    "close": "async def close(self): {}",
}
HANGING = {
    "waits": "touch('hangs'); await asyncio.sleep(60)",
    "blocks the loop": "touch('hangs'); time.sleep(60)",
    "blocks a thread": "touch('hangs'); await asyncio.to_thread(time.sleep, 20)",
    "ignores its cancellation": (
        "touch('hangs')\n    while True:"
        "\n        try: await asyncio.sleep(60)\n        except asyncio.CancelledError: pass"
    ),
}
TABLES = "[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n"


@pytest.mark.parametrize("method", table({name: name for name in METHODS}, quick={"read"}))
@pytest.mark.parametrize(
    "how",
    table({name: name for name in HANGING}, quick={"waits", "blocks the loop", "blocks a thread"}),
)
def test_a_signal_ends_it_wherever_it_hangs(site: Site, method: str, how: str) -> None:
    site.source("bad", METHODS[method].format("\n    " + HANGING[how]))
    site.pipeline(TABLES)
    process = site.desk.start("run", "p.toml")
    out = site.desk.folder / "out.jsonl"
    until((site.desk.folder / "hangs").exists)
    if how != "blocks the loop":
        until(lambda: out.exists() and len(site.desk.ids("out.jsonl")) >= len(ALL))

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=3)

    assert "Traceback" not in err
    if how == "waits":
        assert process.returncode == (3 if method == "close" else 0)
    else:
        assert process.returncode == 75
        assert "levada: source 'bad' did not end in 2.0 s; ending without it." in err


@pytest.mark.parametrize(
    "command",
    table(
        {it: it for it in ("pull bad", "run p.toml --dry-run", "verify p.toml")},
        quick={"run p.toml --dry-run", "verify p.toml"},
    ),
)
@pytest.mark.parametrize(
    "how", table({name: name for name in HANGING}, quick={"waits", "blocks the loop"})
)
def test_a_signal_ends_what_moves_no_position_too(site: Site, command: str, how: str) -> None:
    site.pipeline(TABLES.replace("[sources.bad]\n", ""))
    site.desk.run("run", "p.toml")
    site.source("bad", METHODS["read"].format("\n    " + HANGING[how]))
    site.pipeline(TABLES)
    process = site.desk.start(*command.split())
    until((site.desk.folder / "hangs").exists)

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=12 if "pull" in command else 4)

    if how in {"waits", "blocks a thread"}:
        assert (process.returncode, err) == (143, "")
    else:
        assert process.returncode == 75
        assert err.startswith("levada: source 'bad' did not end in ")
        assert err.count("\n") == 1


def test_one_that_hangs_in_close_is_left_behind(site: Site) -> None:
    site.source("bad", METHODS["close"].format("await asyncio.sleep(60)"))
    site.pipeline(TABLES)

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 3
    assert "plugin 'bad' (levada-bad 1.0) did not come back from close()" in done.stderr


def test_one_that_leaves_a_thread_behind_does_not_keep_a_run_that_has_ended(site: Site) -> None:
    begin = "import threading; threading.Thread(target=time.sleep, args=[20]).start()"
    site.source("bad", METHODS["open"].format(begin))
    site.pipeline(TABLES)
    began = time.monotonic()

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0
    assert "done in" in done.stderr
    assert set(site.desk.ids("out.jsonl")) >= set(ALL)
    assert time.monotonic() - began < 10  # its sleep is longer


def test_one_that_ignores_its_cancellation_cannot_keep_a_run_that_has_ended(site: Site) -> None:
    site.source("bad", METHODS["read"].format("\n    " + HANGING["ignores its cancellation"]))
    site.pipeline(TABLES)
    began = time.monotonic()

    done = site.desk.run("run", "p.toml", "--limit", 20)

    assert done.returncode == 75
    assert "source 'bad' did not end" in done.stderr
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert time.monotonic() - began < 10  # its sleep is longer

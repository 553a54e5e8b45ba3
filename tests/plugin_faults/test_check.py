"""`levada check` and a source that does anything but answer: it is named, and the others are asked."""

import json
import signal
import time
from typing import Any

import pytest

from integration.test_cli_process import until
from plugin_faults.site import Site, table

METHODS = {
    "open": "async def open(self, ctx): {}",
    "partitions": "async def partitions(self, position, ctx):\n    {}\n    yield",
    "read": "async def read(self, partition, position, ctx):\n    {}\n    yield",
    "close": "async def close(self): {}",
}
TABLES = "[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n"


def check(site: Site) -> tuple[int, dict[str, Any]]:
    """Check a pipeline; return the exit code and what was found about the bad source."""
    site.pipeline(TABLES, 'request_timeout = "100ms"\n')
    done = site.desk.run("check", "p.toml", "--json")
    assert done.stderr == ""
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert found["numbers"]["ok"]
    return done.returncode, found["bad"]


@pytest.mark.parametrize("method", table({it: it for it in METHODS}, quick={"open"}))
def test_one_that_hangs_is_given_up(site: Site, method: str) -> None:
    site.source("bad", METHODS[method].format("await asyncio.sleep(600)"))

    code, bad = check(site)

    assert code == 75
    assert f"{method}() did not end in 2.1 s" in bad["text"]


@pytest.mark.parametrize("how", ["a task", "one that catches all", "a thread"])
def test_one_that_does_not_heed_its_end_is_left_behind(site: Site, how: str) -> None:
    forever = """
    while True:
        try: await asyncio.sleep(60)
        except {}: pass
    """
    body = {
        "a task": forever.format("asyncio.CancelledError"),
        "one that catches all": forever.format("BaseException"),
        "a thread": "await asyncio.to_thread(time.sleep, 40)",
    }[how]
    site.source("bad", METHODS["open"].format(body))
    began = time.monotonic()

    code, bad = check(site)

    assert code == (75 if how == "a thread" else 3)
    assert "open()" in bad["text"]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("method", table({it: it for it in METHODS}, quick={"open", "read"}))
@pytest.mark.parametrize("error", ["SystemExit(9)", "GeneratorExit", "asyncio.CancelledError"])
def test_one_that_ends_the_process_ends_only_its_own_check(
    site: Site, method: str, error: str
) -> None:
    site.source("bad", METHODS[method].format(f"raise {error}"))

    code, bad = check(site)

    name = error.removeprefix("asyncio.").partition("(")[0]
    assert code == bad["exit_code"] == 3
    assert bad["text"] == f"plugin 'bad' (levada-bad 1.0) raised {name} from {method}()"


def test_one_that_blocks_everything_ends_it_and_is_named(site: Site) -> None:
    site.source("bad", METHODS["partitions"].format("time.sleep(60)"))
    site.pipeline(TABLES, 'request_timeout = "100ms"\n')

    done = site.desk.run("check", "p.toml")

    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith("levada: source 'bad' did not end in 2.1 s;")


def test_the_second_ctrl_c_ends_one_that_blocks_everything(site: Site) -> None:
    site.source("bad", METHODS["open"].format("touch('hangs'); time.sleep(60)"))
    site.pipeline(TABLES)
    process = site.desk.start("check", "p.toml")
    until((site.desk.folder / "hangs").exists)

    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)

    _, err = process.communicate(timeout=10)
    assert (process.returncode, err.strip()) == (130, "")

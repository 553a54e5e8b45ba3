"""What plugins print, from import to close, is never between the lines of the stdout sink."""

import json
import subprocess

import pytest

from plugin_faults.site import ALL, Site, table

NOISE = "print('noise'); os.write(1, b'noise\\n'); subprocess.run(['echo', 'noise'], check=True)"

METHODS = {
    "open": "async def open(self, ctx): {}",
    "resume": "async def resume(self, receipt, ctx): {}",
    "write": "async def write(self, delivery, ctx): {}",
    "close": "async def close(self): {}",
}


def prints_only_events(site: Site, tables: str) -> str:
    site.pipeline(tables)

    done = site.desk.run("run", "p.toml")

    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == sorted(ALL)
    assert done.returncode == 0
    return done.stderr


@pytest.mark.parametrize("method", table({it: it for it in METHODS}, quick={"open", "close"}))
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_sink_that_prints(site: Site, method: str, place: str) -> None:
    site.sink("bad", METHODS[method].format(NOISE))
    sinks = ["[sinks.bad]", "[sinks.stdout]"]

    err = prints_only_events(
        site, "\n".join(["[sources.numbers]", *sinks[:: 1 if place == "before" else -1]])
    )

    assert err.count("noise") >= 3


@pytest.mark.parametrize("method", ["open", "close"])
def test_a_source_that_prints(site: Site, method: str) -> None:
    site.source(
        "bad", f"{METHODS[method].format(NOISE)}\nasync def read(self, *_):\n    yield Batch([])"
    )

    err = prints_only_events(site, "[sources.numbers]\n[sources.bad]\n[sinks.stdout]")

    assert err.count("noise") == 3


def test_an_import_that_prints(site: Site) -> None:
    site.source("bad", top=f"import os, subprocess\n{NOISE}")
    site.pipeline("[sources.bad]\n[sinks.stdout]\n")

    err = prints_only_events(site, "[sources.bad]\n[sinks.stdout]\n")

    assert err.count("noise") == 3


PIPELINE = "[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n"
COMMANDS = [
    *("run --json", "check --json", "status --json", "dead list --json", "verify --json"),
    *("plugins --json", "describe bad --json", "schema"),
]
NOISY = f"""
def __attrs_post_init__(self): {NOISE}
def identity(self): {NOISE}; return ""
async def open(self, ctx): {NOISE}
async def close(self): {NOISE}
async def partitions(self, position, ctx):
    {NOISE}
    yield Partition("run-1", version=1, final=True)
async def read(self, partition, position, ctx):
    {NOISE}
    yield Batch([event(number, partition.key) for number in range(10)])
"""


@pytest.mark.parametrize(
    "command",
    table(
        {it: it for it in COMMANDS},
        quick={"run --json", "check --json", "status --json"},
    ),
)
def test_what_is_printed_as_json_is_nothing_else(site: Site, command: str) -> None:
    site.source(
        "bad", NOISY, top=f"import atexit, os, subprocess\n{NOISE}\natexit.register(print, 1)"
    )
    site.pipeline(PIPELINE)
    if not command.startswith("check"):
        site.desk.run("run", "p.toml")
    needs_file = not command.startswith(("plugins", "describe", "schema"))

    done = site.desk.run(*command.split(), *(["p.toml"] if needs_file else []))

    assert isinstance(json.loads(done.stdout), dict | list)
    assert done.stderr.count("noise") >= 3
    assert done.returncode == 0


def test_what_a_plugin_prints_before_the_first_event(site: Site) -> None:
    site.source("bad", NOISY.replace("range(10)", "range(0)"))

    err = prints_only_events(site, "[sources.numbers]\n[sources.bad]\n[sinks.stdout]")

    assert err.count("noise") >= 3


@pytest.mark.parametrize("command", ["run p.toml --dry-run", "pull bad"])
def test_events_that_no_journal_keeps(site: Site, command: str) -> None:
    site.source("bad", NOISY)
    site.pipeline(PIPELINE)

    done = site.desk.run(*command.split())

    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 10
    assert done.returncode == 0


def test_a_line_that_a_plugin_has_begun(site: Site) -> None:
    site.source(
        "bad",
        "def __attrs_post_init__(self): print('noise', end='')\n"
        "async def read(self, *_):\n    yield Batch([])",
    )

    err = prints_only_events(site, "[sources.numbers]\n[sources.bad]\n[sinks.stdout]")

    assert "noise" in err


def test_without_standard_error_noise_goes_nowhere(site: Site) -> None:
    site.source("bad", NOISY)
    site.pipeline(PIPELINE)
    command = site.desk.command("check", "p.toml", "--json")
    command["args"] = ["sh", "-c", 'exec "$0" "$@" 2>&-', *command["args"]]

    done = subprocess.run(**command, stdout=subprocess.PIPE, check=False, timeout=20)

    assert json.loads(done.stdout)
    assert done.returncode == 0


def test_without_standard_output_nothing_is_said_and_noise_goes_to_standard_error(
    site: Site,
) -> None:
    site.source("bad", NOISY)
    site.pipeline(PIPELINE)
    command = site.desk.command("check", "p.toml", "--json")
    command["args"] = ["sh", "-c", 'exec "$0" "$@" >&-', *command["args"]]

    done = subprocess.run(**command, stderr=subprocess.PIPE, check=False, timeout=20)

    assert "noise" in done.stderr
    assert done.returncode == 0

"""What plugins print, from import to close, is never between the lines of the stdout sink."""

import json

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

"""A call that hangs in a run that ends by itself: given up, named, and tried again."""

import time

import pytest

from plugin_faults.site import ALL, Site, table
from sink_faults.test_receivers import accept, raw_server

SOURCE = {
    "open": "async def open(self, ctx):\n    {}",
    "partitions": "async def partitions(self, position, ctx):\n    {}\n    yield",
    "read": "async def read(self, partition, position, ctx):\n    {}\n    yield",
}
WRITE = "async def write(self, delivery, ctx):\n    {}"
WAITS = "await asyncio.sleep(60)"
STAYS = """while True:
        try: await asyncio.sleep(60)
        except asyncio.CancelledError: pass"""
SHORT = "patience = timedelta(milliseconds=300)\n"


def carries_the_others(site: Site, said: str) -> None:
    """See that `bad` is given up, while the file gets all of `numbers`."""
    began = time.monotonic()

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 75, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert time.monotonic() - began < 12


@pytest.mark.parametrize("method", table({name: name for name in SOURCE}, quick={"read"}))
def test_a_source_that_hangs_is_given_up(site: Site, method: str) -> None:
    site.source("bad", SHORT + SOURCE[method].format(WAITS))
    site.pipeline("[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    carries_the_others(site, f"{method}() showed no sign of life for 0.3 s")


def test_a_sink_that_hangs_is_given_up(site: Site) -> None:
    site.sink("bad", SHORT + WRITE.format(WAITS))
    site.pipeline("[sources.numbers]\n[sinks.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    carries_the_others(site, "sink 'bad' is failing: write() showed no sign of life for 0.3 s")


@pytest.mark.parametrize("method", table({name: name for name in SOURCE}, quick={"read"}))
def test_a_source_that_does_not_even_end_then_is_left_behind(site: Site, method: str) -> None:
    site.source("bad", SHORT + SOURCE[method].format(STAYS))
    site.pipeline("[sources.numbers]\n[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    carries_the_others(site, "source 'bad' did not end")


def test_a_sink_that_does_not_even_end_then_is_left_behind(site: Site) -> None:
    site.sink("bad", SHORT + WRITE.format(STAYS))
    site.pipeline("[sources.numbers]\n[sinks.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    carries_the_others(
        site, "sink 'bad' is stopped: plugin 'bad' (levada-bad 1.0) did not come back from write()"
    )


def test_a_request_under_way_is_a_sign_of_life(site: Site) -> None:
    def slowly(sock: object) -> None:
        time.sleep(1)
        accept(sock)

    with raw_server(slowly) as port:
        post = f"await ctx.http('http://127.0.0.1:{port}').post('/', b'')"
        site.sink("bad", SHORT + WRITE.format(post))
        site.pipeline("[sources.numbers]\n[sinks.bad]\n")

        done = site.desk.run("run", "p.toml")

    assert (done.returncode, done.stderr.count("failing")) == (0, 0)


def test_one_that_may_wait_for_ever_does(site: Site) -> None:
    site.sink("bad", f"patience = None\n{WRITE.format('await asyncio.sleep(2)')}")
    site.pipeline("[sources.numbers]\n[sinks.bad]\n")

    assert site.desk.run("run", "p.toml").returncode == 0

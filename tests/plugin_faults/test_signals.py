"""A plugin that takes the process's signals, or leaves something for its end."""

import signal

import pytest

from plugin_faults.site import Site, table

TAKEN = {
    "the loop's": "asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)",
    "the descriptor": "signal.set_wakeup_fd(-1)",
    "ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})",
}

LOOP = """
class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        raise AssertionError("this loop would take the signals")

asyncio.set_event_loop_policy(Policy())
"""


@pytest.mark.parametrize("how", table(TAKEN, quick={"ignored"}))
def test_a_signal_ends_it_nonetheless(site: Site, how: str) -> None:
    site.source(
        "bad",
        f"async def read(self, partition, position, ctx):\n    {how}\n    yield Batch([])",
        top="import asyncio, signal",
    )
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")
    process = site.desk.start("run", "p.toml", "--follow")
    assert process.stderr
    said = ""
    while "levada's again" not in said:
        said += process.stderr.readline()

    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=10)

    assert process.returncode == 0, rest
    assert "stopping" in rest


def test_the_loop_is_levadas_own(site: Site) -> None:
    site.source("bad", top=f"import asyncio\n{LOOP}")
    site.pipeline("[sources.bad]\n[sources.numbers]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["run", "status", "check"])
def test_what_it_leaves_for_the_end_of_the_process_does_not_keep_it(
    site: Site, command: str
) -> None:
    site.source("bad", top="import atexit, time; atexit.register(time.sleep, 60)")
    site.pipeline("[sources.bad]\n[sinks.file]\npath = 'out.jsonl'\n")

    done = site.desk.run(command, "p.toml")

    assert done.returncode == 0, done.stderr

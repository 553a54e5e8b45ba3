"""`levada demo` and `levada sandbox`: the first five minutes."""

import json
import signal
import time
from pathlib import Path

import pytest

from integration.test_cli_process import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_demo_takes_seconds_and_says_what_went_where(desk: Desk) -> None:
    began = time.monotonic()
    done = desk.run("demo")
    took_s = time.monotonic() - began

    folder = desk.folder / "levada-demo"
    assert done.returncode == 0
    assert took_s < 10
    assert len(desk.ids("levada-demo/events.jsonl")) == 96
    assert "96 events in levada-demo/events.jsonl" in done.stderr
    assert "every signature good" in done.stderr
    assert {json.loads(line)["kind"].partition(".")[0] for line in done.stdout.splitlines()} == {
        "run"
    }
    assert (folder / "keys/vendor").stat().st_mode & 0o077 == 0


def test_the_demos_file_is_a_pipeline_file(desk: Desk) -> None:
    desk.run("demo")

    assert desk.run("check", "levada-demo/pipeline.toml", "--offline").returncode == 0
    status = desk.run("status", "levada-demo/pipeline.toml", "--json")
    assert {sink["pending"] for sink in json.loads(status.stdout)["sinks"]} == {0}


def test_a_second_demo_touches_nothing_of_the_first(desk: Desk) -> None:
    desk.run("demo")
    before = (desk.folder / "levada-demo/pipeline.toml").stat()

    done = desk.run("demo")

    assert "Wrote levada-demo-2/pipeline.toml" in done.stderr
    assert (desk.folder / "levada-demo/pipeline.toml").stat() == before


def test_the_demo_refuses_a_folder_with_something_in_it(desk: Desk) -> None:
    desk.write("mine", "precious")

    done = desk.run("demo", "--directory", ".")

    assert done.returncode == 2
    assert done.stderr == "levada: . is not empty; choose another --directory\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_the_sandbox_serves_until_a_signal(desk: Desk, number: signal.Signals) -> None:
    ports = [f"--{name}-port=0" for name in ("kapso", "stevora", "webhook")]
    process = desk.start("sandbox", *ports, "--size", 3, "--grow", "0s")
    assert process.stdout is not None
    addresses = [process.stdout.readline().split()[1] for _ in range(3)]

    pulls = [
        desk.run("pull", name, "--set", f"base_url={url}", **{f"{name.upper()}_API_KEY": "sandbox"})
        for name, url in zip(("kapso", "stevora"), addresses, strict=False)
    ]
    process.send_signal(number)
    _, err = process.communicate(timeout=10)

    assert [len(pull.stdout.splitlines()) for pull in pulls] == [24, 24]
    assert (process.returncode, err) == (0, "stopped\n")


def test_the_sandbox_says_when_a_port_is_taken(desk: Desk) -> None:
    process = desk.start("sandbox", "--kapso-port=0", "--stevora-port=0", "--webhook-port=0")
    assert process.stdout is not None
    port = process.stdout.readline().split()[1].rpartition(":")[2]

    done = desk.run("sandbox", "--kapso-port", port, "--stevora-port=0", "--webhook-port=0")

    process.terminate()
    process.communicate(timeout=10)
    assert done.returncode == 74
    assert port in done.stderr
    assert len(done.stderr.splitlines()) == 1

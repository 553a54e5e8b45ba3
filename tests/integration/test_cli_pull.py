"""`levada pull`: events to stdout, no file, no state."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.test_cli_process import LEVADA, Desk
from levada.sandbox import KapsoWorld, Sandbox, StevoraWorld


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    kapso, stevora = KapsoWorld.sample(executions=6), StevoraWorld.sample(runs=4)
    with Sandbox.in_thread(kapso=kapso, stevora=stevora) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    keys = {"KAPSO_API_KEY": sandbox.kapso_key, "STEVORA_API_KEY": sandbox.stevora_key}
    return Desk(tmp_path, keys)


@pytest.mark.parametrize(("source", "events"), [("kapso", 48), ("stevora", 32)])
def test_prints_every_event_and_leaves_nothing(
    desk: Desk, sandbox: Sandbox, source: str, events: int
) -> None:
    url = getattr(sandbox, source).url

    done = desk.run("pull", source, "--set", f"base_url={url}")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert len({line["id"] for line in lines}) == len(lines) == events
    assert {line["specversion"] for line in lines} == {"1.0"}
    assert list(desk.folder.iterdir()) == []


def test_only_except_and_limit_choose(desk: Desk, sandbox: Sandbox) -> None:
    url = f"base_url={sandbox.kapso.url}"

    chosen = desk.run(
        "pull", "kapso", "--set", url, "--only", "run.*", "--except", "*.failed", "--limit", 4
    )

    kinds = [json.loads(line)["kind"] for line in chosen.stdout.splitlines()]
    assert len(kinds) == 4
    assert set(kinds) <= {"run.started", "run.completed"}


def test_raw_is_the_vendors_record(desk: Desk, sandbox: Sandbox) -> None:
    url = f"base_url={sandbox.kapso.url}"

    done = desk.run("pull", "kapso", "--set", url, "--format", "raw", "--limit", 1)

    assert json.loads(done.stdout)["event_type"] == "execution_started"


def test_a_reader_that_goes_away_ends_it_quietly(desk: Desk, sandbox: Sandbox) -> None:
    pull = f"{LEVADA} pull kapso --set base_url={sandbox.kapso.url}"
    command = desk.command()
    command["args"] = ["bash", "-c", f"{pull} | head -3; echo ${{PIPESTATUS[0]}}"]

    done = subprocess.run(**command, capture_output=True, check=True, timeout=20)

    *lines, code = done.stdout.splitlines()
    assert (len(lines), code, done.stderr) == (3, "0", "")


def test_a_wrong_key_is_one_line_that_names_the_variable(desk: Desk, sandbox: Sandbox) -> None:
    url = f"base_url={sandbox.kapso.url}"

    done = desk.run("pull", "kapso", "--set", url, KAPSO_API_KEY="wrong-key-of-mine")

    assert (done.returncode, done.stdout) == (4, "")
    (line,) = done.stderr.splitlines()
    assert "401" in line
    assert "KAPSO_API_KEY" in line
    assert "wrong-key" not in line


def test_a_missing_key_says_what_to_do(desk: Desk) -> None:
    done = desk.run("pull", "kapso", KAPSO_API_KEY="")

    assert done.returncode == 2
    assert done.stderr == (
        "levada: api_key: environment variable KAPSO_API_KEY is not set; export it,"
        ' or say where the secret is: api_key = { env = "NAME" }\n'
    )


def test_a_wrong_option_is_named(desk: Desk) -> None:
    done = desk.run("pull", "kapso", "--set", "page_sise=3", "--set", "window=soon")

    assert done.returncode == 2
    assert 'page_sise: unknown key; did you mean "page_size"?' in done.stderr
    assert "window: expected a duration" in done.stderr
    assert done.stderr.endswith("2 problems\n")

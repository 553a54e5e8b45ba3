"""`levada sandbox --quirk`: vendors that behave as their reference does not say."""

import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from integration.test_cli_process import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_quirks_are_turned_on_by_name(desk: Desk) -> None:
    ports = [f"--{name}-port=0" for name in ("kapso", "stevora", "webhook")]
    quirks = ["--quirk", "kapso.no_workflows", "--quirk", "stevora.skew=-10m"]
    process = desk.start("sandbox", *ports, "--grow", "0s", *quirks)
    assert process.stdout is not None
    kapso, stevora, _ = (process.stdout.readline().split()[1] for _ in range(3))

    pull = desk.run("pull", "kapso", "--set", f"base_url={kapso}", KAPSO_API_KEY="sandbox")
    with urllib.request.urlopen(f"{stevora}/health", timeout=10) as answer:  # noqa: S310  # loopback
        date = parsedate_to_datetime(answer.headers["Date"])
    process.terminate()
    process.communicate(timeout=10)

    assert "404 from GET" in pull.stderr
    assert timedelta(minutes=9) < datetime.now(UTC) - date < timedelta(minutes=11)


def test_an_unknown_quirk_is_refused_with_a_hint(desk: Desk) -> None:
    done = desk.run("sandbox", "--quirk", "kapso.timestamp_cursor")

    assert done.returncode == 2
    assert "did you mean kapso.timestamp_cursors" in done.stderr

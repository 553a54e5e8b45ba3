"""Kill -9 whenever it happens."""

from pathlib import Path

import pytest

from crash import accounts
from crash.killing import Victim
from crash.rounds import each_number
from levada.sandbox.receiver import Receiver


def kill(victim: Victim, kills: int) -> None:
    """Kill it at so many moments of its work, then let it end."""
    victim.strike_often(kills)
    victim.finish()
    assert {death.call for death in victim.deaths} == {"status -9"}


@each_number
@pytest.mark.parametrize("protocol", ["file", "segments", "gzip", "forgetful"])
def test_files_hold_each_event_once(protocol: str, kills: int, tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", protocol, step=60)

    kill(victim, kills)

    accounts.files(victim)


@each_number
def test_what_is_acknowledged_upstream_is_in_the_journal(kills: int, tmp_path: Path) -> None:
    victim = Victim(tmp_path / "it", "queue", step=200)

    kill(victim, kills)

    accounts.journal(victim)


@each_number
@pytest.mark.parametrize("protocol", ["webhook", "batches"])
def test_a_webhook_gets_each_event_under_one_id(
    protocol: str, kills: int, tmp_path: Path, receiver: Receiver
) -> None:
    victim = Victim(tmp_path / "it", protocol, url=receiver.url + "/hook", step=20)

    kill(victim, kills)

    accounts.webhook(victim, receiver.accepted)


@each_number
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_stdout_gets_whole_lines(kills: int, tmp_path: Path, *, piped: bool) -> None:
    victim = Victim(tmp_path / "it", "stdout", step=60, piped=piped)

    kill(victim, kills)

    accounts.stdout(victim)

"""A command has a time and a size, whoever else holds its output."""

import subprocess
import time

import pytest

from levada.command import TooMuch, output_of


def test_returns_what_a_command_prints() -> None:
    printed = output_of(["sh", "-c", "echo key; echo >&2 other"], limit=4, timeout_s=30)

    assert printed == b"key\n"


@pytest.mark.parametrize(
    "code",
    [
        "sleep 8",
        "sleep 8 & wait",
        "sleep 8 | cat",
        "exec >&-; sleep 8",
        "while echo x; do sleep 0.05; done",
    ],
)
def test_a_command_has_a_time_limit_whoever_holds_its_output(code: str) -> None:
    began = time.monotonic()

    with pytest.raises(subprocess.TimeoutExpired):
        output_of(["sh", "-c", code], limit=10_000, timeout_s=0.5)

    assert time.monotonic() - began < 5


def test_what_a_command_left_behind_is_not_waited_for() -> None:
    began = time.monotonic()

    with pytest.raises(subprocess.CalledProcessError):
        output_of(["sh", "-c", "sleep 8 >&- & exit 3"], limit=10, timeout_s=30)

    assert time.monotonic() - began < 5


def test_a_command_that_prints_too_much_is_killed() -> None:
    with pytest.raises(TooMuch):
        output_of(["sh", "-c", "trap '' PIPE; echo more; sleep 8"], limit=4, timeout_s=30)

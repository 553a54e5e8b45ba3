import io
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada import Secret
from levada.cli import logs
from levada.cli.console import Console

KEY = 'cnry-key/1"2'
DANGEROUS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Take back what `logs.set_up` does to the whole process."""
    root, ours = logging.getLogger(), logging.getLogger("levada")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], level, our_level = before
    root.setLevel(level)
    ours.setLevel(our_level)
    logging.captureWarnings(capture=False)


def logged(level: int, name: str, message: str, *, log_at: int = logging.WARNING) -> str:
    stream = io.StringIO()
    logs.set_up(Console(stream), level)
    logging.getLogger(name).log(log_at, "%s", message)
    return stream.getvalue()


def test_one_record_is_one_line_whatever_is_in_it() -> None:
    text = logged(logging.WARNING, "levada.x", "two\nlines \x1b[31m \u202e")

    assert text.count("\n") == 1
    assert text.endswith(r" warning levada.x: two\nlines \x1b[31m \u202e" + "\n")


def test_others_are_heard_only_when_they_warn() -> None:
    assert logged(logging.DEBUG, "httpx", "GET /secret?key=1", log_at=logging.INFO) == ""
    assert "careful" in logged(logging.DEBUG, "levada_acme", "careful")


def test_tracebacks_are_for_debugging() -> None:
    def trace(level: int) -> str:
        stream = io.StringIO()
        logs.set_up(Console(stream), level)
        try:
            raise ValueError("x")
        except ValueError:
            logging.getLogger("levada.x").warning("failed", exc_info=True)
        return stream.getvalue()

    assert len(trace(logging.WARNING).splitlines()) == 1
    assert "    ValueError: x" in trace(logging.DEBUG).splitlines()


@given(st.text(st.characters()), st.lists(st.text(st.characters())))
def test_any_record_is_one_safe_line(message: str, arguments: list[str]) -> None:
    text = logged(logging.WARNING, "levada.x", f"{message} {arguments}" + "".join(arguments))

    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert not DANGEROUS.search(text)
    text.encode()  # no lone surrogate is left


def test_a_secret_that_somebody_logs_is_taken_out() -> None:
    secret = Secret(KEY)

    text = logged(logging.WARNING, "httpx", f"{secret.reveal()} {{'x-api-key': {KEY!r}}}")

    assert text.endswith(" warning httpx: [redacted] {'x-api-key': '[redacted]'}\n")


def test_a_secret_in_a_traceback_is_taken_out() -> None:
    stream, secret = io.StringIO(), Secret(KEY)
    logs.set_up(Console(stream), logging.DEBUG)

    try:
        raise ValueError(f"no such key: {secret.reveal()!r}")
    except ValueError:
        logging.getLogger("levada.x").warning("failed", exc_info=True)

    assert "ValueError: no such key: '[redacted]'" in stream.getvalue()
    assert "cnry" not in stream.getvalue()


def test_a_traceback_is_escaped_line_by_line() -> None:
    stream = io.StringIO()
    logs.set_up(Console(stream), logging.DEBUG)

    try:
        raise ValueError("\x1b[31m \u202e \ud800\u2028levada: done")
    except ValueError:
        logging.getLogger("levada.x").warning("failed", exc_info=True)

    assert not DANGEROUS.search(stream.getvalue())
    assert all(line.startswith("    ") for line in stream.getvalue().splitlines()[1:])

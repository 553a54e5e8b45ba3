import io
import logging

from levada.cli import logs
from levada.cli.console import Console


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

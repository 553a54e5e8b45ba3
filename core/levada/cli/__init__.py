"""The command line. Nothing here imports more than click until a command needs it."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Never

__all__ = ["main"]

INTERRUPTED = 130
"""As in `levada.cli.exit_codes`, which may not be imported yet."""

LEAVE_S = 1.0
"""What threads that others began may take to end once the command has."""

LAST_S = 3.0
"""What everything else may take that others have left for the end of the process."""


def main() -> Never:
    """Run the command that ``sys.argv`` asks for, and end the process with its exit code."""
    os.umask(0o077)  # the journal holds what the vendors keep behind a key
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name must not end us under LC_ALL=C
    try:
        code = _run(sys.argv[1:])
        _leave_threads(code)
        sys.exit(code)
    except KeyboardInterrupt:  # before a command has taken the signals over
        os._exit(INTERRUPTED)


def _run(arguments: Sequence[str]) -> int:
    from levada.cli import failures, logs
    from levada.cli.root import levada

    logs.log_what_nobody_catches()
    try:
        code = levada.main(arguments, prog_name="levada", standalone_mode=False)
    except Exception as error:  # noqa: BLE001  # the last one to see it says what it means
        return failures.show(error)
    return int(code or 0)


def _leave_threads(code: int) -> None:
    """End the process where Python would wait for threads that a plugin has left behind."""
    if "threading" not in sys.modules:
        return
    import threading
    import time

    until = time.monotonic() + LEAVE_S
    threading.Thread(target=_end, args=(code,), daemon=True).start()
    others = [each for each in threading.enumerate() if each is not threading.main_thread()]
    for each in others:
        if not each.daemon:
            each.join(max(0.0, until - time.monotonic()))
            if each.is_alive():
                _end_now(code)


def _end(code: int) -> None:
    """End the process when what runs at its end does not."""
    import time

    time.sleep(LAST_S)
    _end_now(code)


def _end_now(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)

"""Runs a command for what it prints, within a size and a time."""

import os
import selectors
import subprocess
import time
from collections.abc import Sequence


class TooMuch(Exception):  # noqa: N818  # never leaves this package
    """A command printed more than it may."""


def output_of(argv: Sequence[str], *, limit: int, timeout_s: float) -> bytes:
    """Return what a command prints on its standard output, at most *limit* bytes; no shell.

    It has ended then, whatever happened. What it began itself may go on, but is not waited for:
    in a process group of its own the command could not ask for a passphrase on the terminal.

    Raises:
        OSError: it cannot be run.
        TooMuch: it printed more.
        subprocess.CalledProcessError: it failed.
        subprocess.TimeoutExpired: it, or whoever holds its output, went on for longer.
    """
    deadline = time.monotonic() + timeout_s
    with subprocess.Popen(  # noqa: S603  # the operator wrote this command in the pipeline file
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        try:
            printed = _read(process, limit, deadline)
            process.wait(max(0, deadline - time.monotonic()))
        finally:
            process.kill()  # nothing happens where it has ended
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return printed


def _read(process: "subprocess.Popen[bytes]", limit: int, deadline: float) -> bytes:
    """Return all that the process prints, looking at the clock between any two pieces."""
    if process.stdout is None:
        raise AssertionError("the process was made with a pipe")
    printed = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(printed) <= limit:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not selector.select(left_s):
                raise subprocess.TimeoutExpired(process.args, left_s)
            piece = os.read(process.stdout.fileno(), limit + 1)
            if not piece:
                return bytes(printed)
            printed += piece
    raise TooMuch

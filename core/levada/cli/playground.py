"""What `levada demo` and `levada sandbox` share: the same worlds at the same addresses."""

import base64
import secrets
import socket
from contextlib import closing
from datetime import timedelta

from levada.sandbox import (
    KapsoQuirks,
    KapsoWorld,
    Receiver,
    Sandbox,
    StevoraQuirks,
    StevoraWorld,
)

HOST = "127.0.0.1"
KAPSO_PORT, STEVORA_PORT, RECEIVER_PORT = 7171, 7172, 7173
SIZE = 6
"""Executions and runs to begin with; few enough for the demo to fit on a screen."""

KEY = "sandbox"


def sandbox(
    *,
    kapso_port: int = KAPSO_PORT,
    stevora_port: int = STEVORA_PORT,
    size: int = SIZE,
    grow_every: timedelta | None = None,
    rate_limit: int | None = None,
    quirks: tuple[KapsoQuirks, StevoraQuirks] | None = None,
) -> Sandbox:
    """Return both vendors, not started; the same *size* gives the same events every time."""
    kapso_quirks, stevora_quirks = quirks or (KapsoQuirks(), StevoraQuirks())
    left_open = min(2, size)
    return Sandbox(
        kapso=KapsoWorld.sample(executions=size, open=left_open),
        stevora=StevoraWorld.sample(runs=size, open=left_open),
        kapso_key=KEY,
        stevora_key=KEY,
        grow_every=grow_every,
        kapso_port=kapso_port,
        stevora_port=stevora_port,
        kapso_rate_limit=rate_limit,
        kapso_quirks=kapso_quirks,
        stevora_quirks=stevora_quirks,
    )


def free(port: int) -> int:
    """Return *port* if nobody listens there, and 0, any other, if somebody does."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
    return port


def signing_secret() -> str:
    """Return a new secret of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


def command(vendors: Sandbox, receiver: Receiver) -> str:
    """Return the command that starts both again at the same addresses."""
    ports = {
        "kapso": (vendors.kapso_port or vendors.kapso.port, KAPSO_PORT),
        "stevora": (vendors.stevora_port or vendors.stevora.port, STEVORA_PORT),
        "webhook": (receiver.port, RECEIVER_PORT),
    }
    options = [f"--{name}-port {port}" for name, (port, usual) in ports.items() if port != usual]
    return " ".join(["levada sandbox", *options])

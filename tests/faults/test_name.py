"""A name server that says nothing, and a port that does not even refuse."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.upstream import Upstream

SILENT = """\
import socket, time
real = socket.getaddrinfo

def getaddrinfo(host, *rest, **more):
    if host in ("silent.example", b"silent.example"):
        time.sleep(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")
    return real(host, *rest, **more)

socket.getaddrinfo = getaddrinfo
"""


def test_a_silent_name_server_holds_up_nothing(up: Upstream, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SILENT)

    failed = up.run(base_url="http://silent.example", PYTHONPATH=str(site))
    healed = up.run("--accept-identity-change")

    assert failed.code == 75, failed.err
    assert "timed out after 0.4 s" in failed.err
    assert failed.seconds < 5
    assert healed.code == 0, healed.err
    assert up.delivered == up.expected


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where nobody accepts, and where no more can wait for that: a connection hangs."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        probe = stack.enter_context(socket.socket())
        probe.settimeout(0.3)
        try:
            probe.connect(server.getsockname())
        except TimeoutError:
            yield server.getsockname()[1]
            return
        pytest.skip("this kernel accepts connections beyond the backlog")


def test_a_connection_that_hangs_holds_up_nothing(up: Upstream, silent_port: int) -> None:
    failed = up.run(base_url=f"http://127.0.0.1:{silent_port}")
    healed = up.run("--accept-identity-change")

    assert failed.code == 75, failed.err
    assert "timed out after 0.4 s" in failed.err
    assert failed.seconds < 5
    assert healed.code == 0, healed.err
    assert up.delivered == up.expected

"""A name server that says nothing."""

from pathlib import Path

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

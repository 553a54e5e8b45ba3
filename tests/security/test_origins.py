"""Nothing that we send to one origin reaches another, whatever an answer says."""

from collections.abc import Iterator

import pytest

from integration.test_cli_process import Desk
from levada.sandbox import Fault, KapsoWorld, Receiver, RecordedRequest, Response, Sandbox

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    """Run a server to which nobody has a reason to go."""
    with Receiver.in_thread() as running:
        yield running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6)) as running:
        yield running


def redirect(status: int, to: str) -> Fault:
    return Fault(answer=Response(status, b"{}", {"Location": to, "Refresh": f"0; url={to}"}))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("vendor", ["kapso", "stevora"])
def test_a_vendors_redirect_is_not_followed(
    desk: Desk, sandbox: Sandbox, elsewhere: Receiver, vendor: str, status: int
) -> None:
    server = getattr(sandbox, vendor)
    server.faults = lambda request: redirect(status, f"{elsewhere.url}{request.path}")
    text = f'[sources.{vendor}]\nbase_url = "{server.url}"\n[sinks.file]\npath = "out"\n'
    desk.write("p.toml", text)

    done = desk.run("run", "p.toml", KAPSO_API_KEY="sandbox", STEVORA_API_KEY="sandbox")

    assert done.returncode == 4
    assert f"redirects to {elsewhere.url}, which is not followed" in done.stderr
    assert server.requests
    assert elsewhere.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_receivers_redirect_is_not_followed(
    desk: Desk, sandbox: Sandbox, elsewhere: Receiver, status: int
) -> None:
    with Receiver.in_thread() as receiver:
        receiver.faults = lambda request: redirect(status, f"{elsewhere.url}/take")
        desk.write(
            "p.toml",
            f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
            f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}/take"\n'
            'secret = { env = "SIGNING" }\nschedule = ["0s"]\n'
            '[pipeline]\ngive_up_after = "200ms"\n',
        )

        done = desk.run("run", "p.toml", KAPSO_API_KEY="sandbox", SIGNING=SECRET)

    assert done.returncode != 0 or "dead" in done.stderr
    assert receiver.requests
    assert elsewhere.requests == []


def test_a_link_to_the_next_page_is_not_followed_elsewhere(
    desk: Desk, sandbox: Sandbox, elsewhere: Receiver
) -> None:
    def linked(request: RecordedRequest) -> Fault:
        there = f"{elsewhere.url}/next"
        paging = (
            f'{{"next": "{there}", "cursors": {{"after": "{there}"}}, "next_url": "{there}", '
            f'"has_more": true, "total_pages": 2, "total": 1}}'
        )
        body = f'{{"success": true, "data": [], "paging": {paging}, "meta": {paging}}}'
        headers = {"Content-Type": "application/json", "Link": f'<{there}>; rel="next"'}
        return Fault(answer=Response(200, body.encode(), headers))

    sandbox.kapso.faults = linked
    sandbox.stevora.faults = linked
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
        f'[sources.stevora]\nbase_url = "{sandbox.stevora.url}"\n'
        '[sinks.file]\npath = "out"\n[pipeline]\ngive_up_after = "200ms"\n',
    )

    desk.run("run", "p.toml", "--limit", 1, KAPSO_API_KEY="sandbox", STEVORA_API_KEY="sandbox")

    assert sandbox.kapso.requests
    assert sandbox.stevora.requests
    assert elsewhere.requests == []


def test_each_key_goes_to_its_own_vendor_only(desk: Desk, elsewhere: Receiver) -> None:
    keys = {"kapso_key": "key-of-kapso", "stevora_key": "key-of-stevora"}
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6), **keys) as sandbox:
        desk.write(
            "p.toml",
            f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
            f'[sources.stevora]\nbase_url = "{sandbox.stevora.url}"\n'
            f'[sinks.hook]\nuse = "webhook"\nurl = "{elsewhere.url}/take"\n',
        )

        done = desk.run(
            "run", "p.toml", KAPSO_API_KEY="key-of-kapso", STEVORA_API_KEY="key-of-stevora"
        )

        sent = {
            name: str([request.headers for request in server.requests])
            for name, server in (
                ("kapso", sandbox.kapso),
                ("stevora", sandbox.stevora),
                ("hook", elsewhere),
            )
        }
    assert done.returncode == 0
    assert {name for name in sent if "key-of-kapso" in sent[name]} == {"kapso"}
    assert {name for name in sent if "key-of-stevora" in sent[name]} == {"stevora"}

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from core.doubles import CollectingSink, ScriptedSource
from levada.host import MOST_KINDS, MOST_OF_A_KIND, Diagnostics, Host


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    await host.close()


def test_equal_reports_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    diagnostics = Diagnostics()

    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            diagnostics.add("kapso", "type.unknown", {"type": "brand\nnew"})

    assert diagnostics.counts == {"kapso: type.unknown": 3}
    assert caplog.messages == ["kapso: type.unknown type='brand\\nnew'"]


def test_many_reports_of_a_kind_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    diagnostics = Diagnostics()

    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            diagnostics.add("kapso", "partition.gone", {"partition": str(number)})

    assert diagnostics.counts == {"kapso: partition.gone": 1000}
    assert len(caplog.messages) == 6
    assert caplog.messages[-1] == "kapso: partition.gone: more of these are only counted"


async def test_a_connector_reports_under_its_name_in_the_pipeline(host: Host) -> None:
    host.context("runs", ScriptedSource()).report("gap", since="evt-1")

    assert host.diagnostics.counts == {"runs: gap": 1}


async def test_equal_clients_are_one_client(host: Host) -> None:
    context = host.context("runs", ScriptedSource())

    one, other = context.http("https://x.test"), context.http("https://x.test")

    assert one is other
    assert len(context.clients) == 1
    assert context.requests == 0


async def test_closing_a_host_that_was_not_used_is_no_trouble() -> None:
    await Host().close()
    await Host().close()


async def test_a_sink_has_a_client_too(host: Host) -> None:
    context = host.context("hook", CollectingSink())

    assert context.http("https://x.test", timeout_s=3) is not None


def test_a_pipeline_without_http_never_imports_it() -> None:
    code = "import sys; from levada.host import Host; Host(); print('httpx' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout == "False\n"


def test_reports_that_differ_without_end_take_no_more_memory_than_a_few() -> None:
    diagnostics = Diagnostics()

    for number in range(1_000):
        diagnostics.add("kapso", "type.unknown", {"type": number, "payload": "x" * 10_000})
        diagnostics.add("kapso", f"kind {number} {'x' * 10_000}", {})

    found = diagnostics.take()
    assert len(found) < 2 * MOST_OF_A_KIND + MOST_KINDS
    assert max(len(finding.what + finding.fields) for finding, _ in found) < 1_000
    assert sum(times for _, times in found) == 2_000
    assert sum(diagnostics.counts.values()) == 2_000


def test_a_long_field_is_shortened_and_a_short_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    diagnostics = Diagnostics()

    with caplog.at_level(logging.WARNING):
        diagnostics.add("kapso", "odd", {"ids": list(range(1_000)), "few": [1, 2], "none": None})

    ((finding, _),) = diagnostics.take()
    fields = json.loads(finding.fields)
    assert (fields["few"], fields["none"]) == ([1, 2], None)
    assert fields["ids"].startswith("[0, 1, 2")
    assert len(fields["ids"]) < 300
    assert len(caplog.text) < 500

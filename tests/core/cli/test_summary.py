from core.cli.test_exit_codes import report, sink, source
from levada import SourceError
from levada.cli.summary import as_json, lines, troubles


def test_counts_of_every_source_and_sink_are_told() -> None:
    done = report(
        source(name="kapso", events=1284, partitions=12, requests=30),
        sink(name="archive", delivered=1284),
        sink(name="alerts", delivered=3, filtered=1281),
    )

    assert lines(done) == [
        "done in 1.0 s: 1,284 new events",
        "  kapso    1,284 new events from 12 partitions, 30 requests",
        "  archive  1,284 delivered",
        "  alerts   3 delivered, 1,281 filtered",
    ]
    assert troubles(done, file="p.toml") == []


def test_what_needs_somebody_comes_with_what_to_do() -> None:
    done = report(
        source(name="kapso", error=SourceError("kapso", "401")),
        source(name="agents", failures={"run_1": "500", "run_2": "500"}),
        source(name="odd", failures={"": "500"}),
        sink(name="hook", condition="failing", reason="refused", pending=2),
        sink(name="gone", condition="disabled", reason="410", pending=1),
        sink(name="bad", dead=1),
    )

    assert troubles(done, file="p.toml") == [
        "source 'kapso': 401",
        "source 'agents': 2 partitions could not be read and will be next time; run_1: 500",
        "source 'odd' could not be read and will be next time: 500",
        "sink 'hook' is failing: refused; 2 events kept for it, run the same command again",
        (
            "sink 'gone' is disabled: 410; 1 event kept for it;"
            " once mended: levada enable p.toml gone"
        ),
        "sink 'bad': 1 dead letter; levada dead list p.toml --sink bad",
    ]


def test_json_has_all_of_it_and_the_exit_code() -> None:
    done = report(source(error=SourceError("a", "401")), sink(dead=1))

    data = as_json(done, strict=True)

    assert data["exit_code"] == 4
    assert data["sources"][0]["error"] == "source 'a': 401"
    assert set(data) == {"ending", "exit_code", "seconds", "sources", "sinks", "diagnostics"}
    assert data["sinks"][0] == {
        "name": "b",
        "connector": "b",
        "delivered": 1,
        "filtered": 0,
        "dead": 1,
        "pending": 0,
        "condition": "active",
        "reason": "",
        "error": None,
    }

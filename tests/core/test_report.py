from levada import Report, SinkError, SourceError
from levada.report import SinkReport, SourceReport


def source(name: str, error: SourceError | None = None) -> SourceReport:
    return SourceReport(
        name=name,
        connector="scripted",
        partitions=0,
        reads=0,
        events=0,
        rejected=0,
        requests=0,
        failures={},
        error=error,
    )


def sink(name: str, error: SinkError | None = None) -> SinkReport:
    return SinkReport(
        name=name,
        connector="collecting",
        delivered=0,
        dead=0,
        filtered=0,
        pending=0,
        condition="stopped" if error else "active",
        error=error,
    )


def test_a_report_lists_what_stopped_connectors_sources_first() -> None:
    upstream, disk = SourceError("b", "401"), SinkError("c", "the disk failed")

    report = Report([source("a"), source("b", upstream)], [sink("c", disk)], "done", 1.5)

    assert list(report.errors) == [upstream, disk]


def test_a_report_without_errors_has_none() -> None:
    assert Report([source("a")], [sink("b")], "done", 0.1).errors == []

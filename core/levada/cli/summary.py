"""What a run did, for people and as JSON."""

from collections.abc import Sequence
from typing import Any

from levada.cli import exit_codes
from levada.cli.console import Console
from levada.cli.text import columns, count, safe, seconds
from levada.report import Report, SinkReport, SourceReport


def show(report: Report, console: Console, *, file: str) -> None:
    """Print the closing summary: the counts first, then whatever needs somebody."""
    for line in lines(report):
        console.line(safe(line))
    for line in troubles(report, file=file):
        console.line(safe(f"!!  {line}"), fg="red")


def lines(report: Report) -> Sequence[str]:
    """Return the headline, and what every source and sink did."""
    rows = [
        *((source.name, _read(source)) for source in report.sources),
        *((sink.name, _written(sink)) for sink in report.sinks),
    ]
    return [_headline(report), *columns(rows, indent="  ")]


def troubles(report: Report, *, file: str) -> Sequence[str]:
    """Return what stands in the way of the rest, and what to do about it."""
    found = [
        *(line for source in report.sources for line in _source_troubles(source)),
        *(line for sink in report.sinks for line in _sink_troubles(sink, file=file)),
    ]
    if report.ending == "gave up" and not any(sink.pending for sink in report.sinks):
        found.append(f"the journal is too full for what comes next; levada status {file}")
    return found


def as_json(report: Report, *, strict: bool) -> dict[str, Any]:
    """Return everything that the summary is made of."""
    return {
        "ending": report.ending,
        "exit_code": int(exit_codes.of_report(report, strict=strict)),
        "seconds": round(report.seconds, 3),
        "sources": [_source_json(source) for source in report.sources],
        "sinks": [_sink_json(sink) for sink in report.sinks],
        "diagnostics": dict(report.diagnostics),
    }


def _headline(report: Report) -> str:
    events = sum(source.events for source in report.sources)
    took = f"{seconds(report.seconds)}: {count(events, 'new event')}"
    match report.ending:
        case "stopped":
            return f"stopped after {took}. Resume with the same command."
        case "gave up":
            return f"gave up after {took}. Run the same command again for the rest."
        case _ if report.errors or any(source.failures for source in report.sources):
            return f"ended after {took}"
        case _:
            return f"done in {took}"


def _read(source: SourceReport) -> str:
    where = f" from {count(source.partitions, 'partition')}" if source.partitions else ""
    parts = [count(source.events, "new event") + where, count(source.requests, "request")]
    if source.rejected:
        parts.append(f"{source.rejected:,} rejected")
    return ", ".join(parts)


def _written(sink: SinkReport) -> str:
    counts = {
        "filtered": sink.filtered,
        "pending": sink.pending,
        "dead": sink.dead,
    }
    parts = [f"{number:,} {name}" for name, number in counts.items() if number]
    state = f" ({sink.condition})" if sink.condition != "active" else ""
    return ", ".join([f"{sink.delivered:,} delivered", *parts]) + state


def _source_troubles(source: SourceReport) -> list[str]:
    if source.error is not None:
        return [str(source.error)]
    if not source.failures:
        return []
    key, reason = next(iter(source.failures.items()))
    if not key:  # of a source that is one single feed
        return [f"source '{source.name}' could not be read and will be next time: {reason}"]
    what = f"{count(len(source.failures), 'partition')} could not be read and will be next time"
    return [f"source '{source.name}': {what}; {key}: {reason}"]


def _sink_troubles(sink: SinkReport, *, file: str) -> list[str]:
    name, waiting = f"sink '{sink.name}'", count(sink.pending, "event")
    found = []
    if sink.condition == "failing":
        found.append(
            f"{name} is failing: {sink.reason}; {waiting} kept for it, run the same command again"
        )
    elif sink.condition == "disabled":
        found.append(
            f"{name} is disabled: {sink.reason}; {waiting} kept for it;"
            f" once mended: levada enable {file} {sink.name}"
        )
    elif sink.error is not None:
        found.append(str(sink.error))
    if sink.dead:
        look = f"levada dead list {file} --sink {sink.name}"
        found.append(f"{name}: {count(sink.dead, 'dead letter')}; {look}")
    return found


def _source_json(source: SourceReport) -> dict[str, Any]:
    return {
        "name": source.name,
        "connector": source.connector,
        "partitions": source.partitions,
        "reads": source.reads,
        "events": source.events,
        "rejected": source.rejected,
        "requests": source.requests,
        "failures": dict(source.failures),
        "error": _text(source.error),
    }


def _sink_json(sink: SinkReport) -> dict[str, Any]:
    return {
        "name": sink.name,
        "connector": sink.connector,
        "delivered": sink.delivered,
        "filtered": sink.filtered,
        "dead": sink.dead,
        "pending": sink.pending,
        "condition": sink.condition,
        "reason": sink.reason,
        "error": _text(sink.error),
    }


def _text(error: Exception | None) -> str | None:
    return None if error is None else str(error)

"""What happens in a Stevora workflow: the steps of one and the events of its runs.

The event types and the payload fields are those of Stevora's events reference, and
`WORKFLOW_PAUSED` is from its page about waiting for external events; the values are invented.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, Literal

from attrs import frozen

__all__ = ["CLOSING_LENGTH", "STEPS", "Beat", "StevoraStatus", "beats", "closing"]

StevoraStatus = Literal[
    "PENDING", "RUNNING", "WAITING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"
]
"""`COMPLETED` and `CANCELLED` are final; a `FAILED` run may be retried and run again."""

Payload = dict[str, Any]

STEPS: Final = {
    "enrich-company": "task",
    "generate-welcome-email": "llm",
    "review-email": "approval",
    "await-reply": "external_event",
    "sync-crm": "task",
}
"""Step name to step type, in the order of the workflow."""


@frozen
class Beat:
    """One event of the script, before it has an id and a time.

    `step` is None for an event of the whole run; `status` is what the run has afterwards, None
    for the many events that do not touch the run itself.
    """

    event_type: str
    step: str | None
    payload: Callable[[Random], Payload]
    status: StevoraStatus | None = None


def _fixed(**payload: Any) -> Callable[[Random], Payload]:
    return lambda _: payload


def _completed(step: str) -> Callable[[Random], Payload]:
    return lambda rng: {"stepName": step, "durationMs": rng.randint(200, 9_000)}


def _llm_completed(model: str) -> Callable[[Random], Payload]:
    return lambda rng: _usage(model, rng.randint(200, 900), rng.randint(100, 600))


def _usage(model: str, input_tokens: int, output_tokens: int) -> Payload:
    return {
        "model": model,
        "inputTokens": input_tokens,
        "outputTokens": output_tokens,
        "costUsd": round(input_tokens * 2.5e-6 + output_tokens * 1e-5, 6),
    }


def _crm_error(rng: Random) -> Payload:
    return {"stepName": "sync-crm", "error": f"CRM answered {rng.choice((500, 502, 503))}"}


def _step(step: str, *inside: Beat) -> tuple[Beat, ...]:
    started = _fixed(stepName=step, stepType=STEPS[step])
    return (
        Beat("STEP_STARTED", step, started, "RUNNING"),
        *inside,
        Beat("STEP_COMPLETED", step, _completed(step), "RUNNING"),
    )


def _llm(event_type: str, payload: Callable[[Random], Payload]) -> Beat:
    return Beat(event_type, "generate-welcome-email", payload)


_CALLED: Final = _llm("LLM_CALL_STARTED", _fixed(model="gpt-4o"))
_ANSWERED: Final = _llm("LLM_CALL_COMPLETED", _llm_completed("gpt-4o"))
_ENRICH: Final = _step("enrich-company")
_GENERATE: Final = _step(
    "generate-welcome-email",
    _CALLED,
    _llm("TOOL_CALL_EXECUTED", _fixed(model="gpt-4o", toolName="lookup_company")),
    _ANSWERED,
)
_GENERATE_TWICE: Final = _step(
    "generate-welcome-email",
    _CALLED,
    _ANSWERED,
    _llm("GUARDRAIL_TRIGGERED", _fixed(guardrail="no-prices", action="retry_with_feedback")),
    _CALLED,
    _llm("LLM_CALL_FAILED", _fixed(model="gpt-4o", error="The model is overloaded")),
    _llm("LLM_FALLBACK_TRIGGERED", _fixed(model="gpt-4o", fallbackModel="gpt-4o-mini")),
    _llm("LLM_CALL_STARTED", _fixed(model="gpt-4o-mini")),
    _llm("LLM_CALL_COMPLETED", _llm_completed("gpt-4o-mini")),
)
_REVIEW: Final = _step(
    "review-email",
    Beat("APPROVAL_REQUESTED", "review-email", _fixed(stepName="review-email"), "WAITING"),
    Beat("APPROVAL_DECIDED", "review-email", _fixed(decision="approved"), "RUNNING"),
)
_PAUSED: Final = Beat(
    "WORKFLOW_PAUSED",
    "await-reply",
    _fixed(reason="external_event", signalType="email_reply"),
    "PAUSED",
)
_AWAIT: Final = _step(
    "await-reply",
    _PAUSED,
    Beat("SIGNAL_RECEIVED", "await-reply", _fixed(signalType="email_reply"), "RUNNING"),
)
_SYNC: Final = _step(
    "sync-crm",
    Beat("STEP_FAILED", "sync-crm", _crm_error, "RUNNING"),
    Beat("STEP_RETRYING", "sync-crm", _fixed(stepName="sync-crm", attempt=2), "RUNNING"),
)
_ROUNDS: Final = (
    _GENERATE + _REVIEW + _AWAIT,
    _GENERATE_TWICE + _REVIEW,
    _GENERATE + _AWAIT + _SYNC,
)

_STARTED: Final = Beat("WORKFLOW_STARTED", None, _fixed(), "RUNNING")
_CANCELLED: Final = Beat("WORKFLOW_CANCELLED", None, _fixed(), "CANCELLED")
_COMPLETED: Final = Beat("WORKFLOW_COMPLETED", None, _fixed(), "COMPLETED")
_FAILED: Final = Beat("WORKFLOW_FAILED", None, _fixed(error="A step has failed"), "FAILED")
_REQUESTED: Final = Beat(
    "APPROVAL_REQUESTED", "review-email", _fixed(stepName="review-email"), "WAITING"
)
_NOTED: Final = Beat("SIGNAL_RECEIVED", None, _fixed(signalType="note_added"))
_LAST: Final[dict[StevoraStatus, tuple[Beat, ...]]] = {
    "PENDING": (),
    "RUNNING": (),
    "WAITING": (_REQUESTED,),
    "PAUSED": (_PAUSED,),
    "CANCELLED": (_CANCELLED,),
    "COMPLETED": (_NOTED, _COMPLETED),
    "FAILED": (_NOTED, _FAILED),
}

CLOSING_LENGTH: Final = {status: len(last) for status, last in _LAST.items()}
"""How many events `closing` needs to bring a run to a status."""


def beats(rng: Random) -> Iterator[Beat]:
    """Tell a run's story without end: its start, a first task, round after round."""
    yield _STARTED
    yield from _ENRICH
    while True:
        yield from rng.choice(_ROUNDS)


def closing(status: StevoraStatus, *, step: str | None, is_started: bool) -> tuple[Beat, ...]:
    """Tell how a story comes to `status` from the open `step`, in `CLOSING_LENGTH` events."""
    last = _LAST[status]
    if last and not is_started:
        return (_STARTED, *last[1:])
    if step is not None and status == "COMPLETED":
        return (Beat("STEP_COMPLETED", step, _completed(step), "RUNNING"), *last[1:])
    if step is not None and status == "FAILED":
        failed = _fixed(stepName=step, error="The step has failed three times")
        return (Beat("STEP_FAILED", step, failed, "RUNNING"), *last[1:])
    return last

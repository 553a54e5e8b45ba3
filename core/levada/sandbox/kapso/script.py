"""What happens in a Kapso workflow: the steps of one and the events of its executions.

The event types are those of Kapso's API reference. Kapso publishes no example payloads; the
fields here are invented after its prose (a decision carries prompt, response and model, an action
its parameters and result, an error its message and stack trace, a variable before and after).
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final, Literal

from attrs import frozen

__all__ = ["CLOSING_LENGTH", "STEPS", "Beat", "KapsoStatus", "beats", "closing"]

KapsoStatus = Literal["running", "waiting", "ended", "failed", "handoff"]
"""Only `ended` and `failed` are final; after `waiting` and `handoff` an execution may go on."""

Payload = dict[str, Any]

STEPS: Final = {
    "start_greeting": "FlowActionStep",
    "wait_for_reply": "FlowWaitStep",
    "decide_intent": "FlowDecideStep",
    "agent_support": "FlowAgentStep",
    "update_crm": "FlowActionStep",
}
"""Step identifier to `stepable_type`, in the order of the canvas."""

_TEMPLATE: Final = {"template": "greeting", "language": "en", "to": "+15550100"}
_CRM_CALL: Final = {"method": "POST", "url": "https://crm.example.test/v2/contacts"}


@frozen
class Beat:
    """One event of the script, before it has an id and a time.

    `step` is None for an event of the whole execution; `status` is what the execution has
    afterwards.
    """

    event_type: str
    step: str | None
    payload: Callable[[Random], Payload]
    edge_label: str | None = None
    status: KapsoStatus = "running"


def _fixed(**payload: Any) -> Callable[[Random], Payload]:
    return lambda _: payload


def _reply(rng: Random) -> Payload:
    order = rng.randint(10_000, 99_999)
    return {
        "message": {
            "type": "text",
            "text": f"Good morning, where is my order {order}? It is a week late.",
        },
        "channel": "whatsapp",
    }


def _decision(rng: Random) -> Payload:
    return {
        "prompt": (
            "Read the conversation and name the intent of the customer's last message: "
            "order_status, complaint, or other. Answer with the name alone."
        ),
        "response": "order_status",
        "model": "gpt-4o-mini",
        "confidence": round(rng.uniform(0.7, 0.99), 2),
    }


def _action_result(rng: Random) -> Payload:
    sent = {"message_id": f"wamid.{rng.getrandbits(64):016X}", "status": "sent"}
    return {"parameters": _TEMPLATE, "result": sent, "duration_ms": rng.randint(80, 900)}


def _variables_set(rng: Random) -> Payload:
    order = rng.randint(10_000, 99_999)
    return {"before": {}, "after": {"order_number": order}, "source": "user_input"}


def _variables_merged(rng: Random) -> Payload:
    turns = rng.randint(2, 9)
    return {"before": {"turns": turns - 1}, "after": {"turns": turns}, "source": "agent"}


def _tool_called(rng: Random) -> Payload:
    return {
        "tool": "get_variable",
        "arguments": {"name": "order_number"},
        "result": {"value": rng.randint(10_000, 99_999), "found": True},
        "duration_ms": rng.randint(3, 80),
    }


def _message_sent(rng: Random) -> Payload:
    hours = rng.randint(2, 48)
    text = f"I have found it: your order has left our warehouse and arrives in {hours} hours."
    return {"text": text, "model": "gpt-4o", "channel": "whatsapp", "iteration": 1}


def _http_failed(rng: Random) -> Payload:
    status = rng.choice((500, 502, 503))
    return {
        "error_message": f"CRM answered {status}",
        "stack_trace": [
            "app/steps/update_crm.rb:14:in `perform`",
            "app/http/client.rb:88:in `post`",
            "app/http/client.rb:41:in `request`",
        ],
    }


def _completed(rng: Random) -> Payload:
    return {"outcome": "completed", "duration_ms": rng.randint(20, 9_000)}


def _entered(step: str) -> Beat:
    status: KapsoStatus = "waiting" if STEPS[step] == "FlowWaitStep" else "running"
    kind = _fixed(node_type=STEPS[step], entered_by="edge")
    return Beat("step_entered", step, kind, edge_label="next", status=status)


def _step(step: str, *inside: Beat) -> tuple[Beat, ...]:
    return (_entered(step), *inside, Beat("step_completed", step, _completed))


_GREET: Final = _step(
    "start_greeting",
    Beat("action_preparing", "start_greeting", _fixed(parameters=_TEMPLATE)),
    Beat("action_executing", "start_greeting", _fixed(parameters=_TEMPLATE)),
    Beat("action_performed", "start_greeting", _action_result),
)
_ANSWERED: Final = _step(
    "wait_for_reply",
    Beat("user_input_received", "wait_for_reply", _reply),
    Beat("variables_set", "wait_for_reply", _variables_set),
)
_SILENCE: Final = _step(
    "wait_for_reply",
    Beat("wait_timeout", "wait_for_reply", _fixed(timeout_seconds=3600), edge_label="timeout"),
)
_DECIDE: Final = _step(
    "decide_intent",
    Beat("decision_evaluating", "decide_intent", _fixed(model="gpt-4o-mini")),
    Beat("decision_evaluated", "decide_intent", _decision, edge_label="order_status"),
)
_CONVERSE: Final = _step(
    "agent_support",
    Beat("agent_iteration_started", "agent_support", _fixed(iteration=1)),
    Beat("agent_tool_called", "agent_support", _tool_called),
    Beat("agent_message_sent", "agent_support", _message_sent),
    Beat("variables_merged", "agent_support", _variables_merged),
)
_FAIL_AND_RETRY: Final = _step(
    "update_crm",
    Beat("action_executing", "update_crm", _fixed(parameters=_CRM_CALL)),
    Beat("action_failed", "update_crm", _http_failed),
    Beat("action_executing", "update_crm", _fixed(parameters=_CRM_CALL)),
    Beat("action_performed", "update_crm", _action_result),
)
_TURNS: Final = (
    _ANSWERED + _DECIDE + _CONVERSE,
    _ANSWERED + _DECIDE + _FAIL_AND_RETRY,
    _SILENCE + _GREET,
)

_STARTED: Final = Beat("execution_started", None, _fixed(trigger="inbound_message"))
_HANDOFF: Final = Beat(
    "agent_tool_called",
    "agent_support",
    _fixed(tool="handoff_to_human", arguments={"reason": "The customer asked for a person"}),
    status="handoff",
)
_ENTER_WAITING: Final = Beat(
    "agent_tool_called",
    "agent_support",
    _fixed(tool="enter_waiting", arguments={"reason": "The customer looks for the number"}),
    status="waiting",
)
_SAVED: Final = Beat("variables_merged", None, _variables_merged)
_LAST: Final[dict[KapsoStatus, tuple[Beat, ...]]] = {
    "running": (),
    "waiting": (_entered("wait_for_reply"),),
    "handoff": (_HANDOFF,),
    "ended": (_SAVED, Beat("execution_ended", None, _fixed(reason="completed"), status="ended")),
    "failed": (_SAVED, Beat("execution_failed", None, _http_failed, status="failed")),
}

CLOSING_LENGTH: Final = {status: len(last) for status, last in _LAST.items()}
"""How many events `closing` needs to bring an execution to a status."""


def beats(rng: Random) -> Iterator[Beat]:
    """Tell an execution's story without end: its start, a greeting, turn after turn."""
    yield _STARTED
    yield from _GREET
    while True:
        yield from rng.choice(_TURNS)


def closing(status: KapsoStatus, *, step: str | None, is_started: bool) -> tuple[Beat, ...]:
    """Tell how a story comes to `status` from the open `step`, in `CLOSING_LENGTH` events."""
    last = _LAST[status]
    if last and not is_started:
        return (_STARTED, *last[1:])
    if step is not None and status == "waiting":
        return (_ENTER_WAITING,)
    if step is not None and status in {"ended", "failed"}:
        outcome = "step_failed" if status == "failed" else "step_completed"
        return (Beat(outcome, step, _http_failed if status == "failed" else _completed), *last[1:])
    return last

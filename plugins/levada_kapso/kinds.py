"""Kapso's event types in the shared vocabulary."""

from collections.abc import Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "execution_started": "run.started",
    "execution_ended": "run.completed",
    "execution_failed": "run.failed",
    "step_entered": "step.started",
    "step_completed": "step.completed",
    "step_failed": "step.failed",
    "decision_evaluating": "decision.started",
    "decision_evaluated": "decision.completed",
    "action_preparing": "action.prepared",
    "action_executing": "action.started",
    "action_performed": "action.completed",
    "action_failed": "action.failed",
    "variables_set": "variables.changed",
    "variables_merged": "variables.changed",
    "user_input_received": "input.received",
    "wait_timeout": "wait.timed_out",
    "agent_iteration_started": "agent.iteration.started",
    "agent_message_sent": "agent.message.sent",
    "agent_tool_called": "tool.called",
    "ai_field_resolving": "llm.started",
    "ai_field_resolved": "llm.completed",
}
"""All that Kapso documents, in its OpenAPI description or (`action_preparing`, `ai_field_*`) only on
its page about workflow events. A handoff is an event too, but of what type is not documented."""

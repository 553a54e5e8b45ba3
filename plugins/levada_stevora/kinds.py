"""Stevora's event types in the shared vocabulary."""

from collections.abc import Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "WORKFLOW_STARTED": "run.started",
    "WORKFLOW_COMPLETED": "run.completed",
    "WORKFLOW_FAILED": "run.failed",
    "WORKFLOW_CANCELLED": "run.cancelled",
    "WORKFLOW_PAUSED": "run.paused",
    "STEP_STARTED": "step.started",
    "STEP_COMPLETED": "step.completed",
    "STEP_FAILED": "step.failed",
    "STEP_RETRYING": "step.retrying",
    "LLM_CALL_STARTED": "llm.started",
    "LLM_CALL_COMPLETED": "llm.completed",
    "LLM_CALL_FAILED": "llm.failed",
    "LLM_FALLBACK_TRIGGERED": "llm.fallback",
    "GUARDRAIL_TRIGGERED": "guardrail.triggered",
    "TOOL_CALL_EXECUTED": "tool.executed",
    "APPROVAL_REQUESTED": "approval.requested",
    "APPROVAL_DECIDED": "approval.decided",
    "SIGNAL_RECEIVED": "signal.received",
}
"""All in Stevora's table of event types, and `WORKFLOW_PAUSED`, which only its page about external
events mentions."""

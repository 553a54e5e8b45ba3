"""How Kapso's API shows workflows and executions, with the field names of its reference."""

from datetime import datetime
from typing import Any

import msgspec

from levada.sandbox.kapso.data import KapsoExecution, KapsoWorkflow
from levada.sandbox.world import rfc3339

__all__ = ["execution_detail", "execution_row", "workflow_row"]

Shown = dict[str, Any]


def workflow_row(workflow: KapsoWorkflow, project_id: str) -> Shown:
    """Show a workflow, with how often and when it was last executed."""
    executions = workflow.executions
    return {
        "id": workflow.id,
        "name": workflow.name,
        "slug": workflow.slug,
        "status": workflow.status,
        "lock_version": 0,
        "project_id": project_id,
        "execution_count": len(executions),
        "last_executed_at": _moment(executions[-1].started_at if executions else None),
        "created_at": rfc3339(workflow.created_at),
        "updated_at": rfc3339(workflow.created_at),
    }


def execution_row(execution: KapsoExecution) -> Shown:
    """Show an execution as the list has it."""
    workflow, step = execution.workflow, execution.current_step
    return {
        "id": execution.id,
        "status": execution.status,
        "started_at": rfc3339(execution.started_at),
        "last_event_at": rfc3339(execution.last_event_at),
        "ended_at": _moment(execution.ended_at),
        "tracking_id": execution.tracking_id,
        "whatsapp_conversation_id": execution.whatsapp_conversation_id,
        "workflow": {"id": workflow.id, "name": workflow.name, "status": workflow.status},
        "current_step": None if step is None else workflow.steps[step],
    }


def execution_detail(execution: KapsoExecution) -> Shown:
    """Show an execution by itself: with its context and its whole history, oldest first."""
    return {
        **execution_row(execution),
        "error_details": execution.error_details,
        "resumable_execution_id": execution.id if execution.status == "waiting" else None,
        "execution_context": _context(execution),
        "events": [msgspec.Raw(event.json) for event in execution.events],
    }


def _context(execution: KapsoExecution) -> Shown:
    return {
        "vars": {"order_number": 40_217},
        "system": {"trigger_type": "inbound_message", "tracking_id": execution.tracking_id},
        "context": {"phone_number": "+15550100", "channel": "whatsapp"},
        "metadata": {},
    }


def _moment(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)

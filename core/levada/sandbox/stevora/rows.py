"""How Stevora's API shows runs and their steps, with the field names of its pages."""

from datetime import datetime
from typing import Any

from levada.sandbox.stevora.data import StevoraRun, StevoraStepRun
from levada.sandbox.stevora.script import STEPS
from levada.sandbox.world import rfc3339

__all__ = ["run_detail", "run_row"]

Shown = dict[str, Any]


def run_row(run: StevoraRun, workspace_id: str) -> Shown:
    """Show a run as the list has it."""
    return {
        "id": run.id,
        "workspaceId": workspace_id,
        "definitionId": run.definition.id,
        "definition": {"name": run.definition.name, "version": run.definition.version},
        "status": run.status,
        "currentStepName": run.current_step,
        "input": {"company": "Example Ltd"},
        "state": {},
        "output": {"sent": True} if run.status == "COMPLETED" else None,
        "error": run.error,
        "totalCostCents": round(run.cost_usd * 100, 4),
        "startedAt": _moment(run.started_at),
        "completedAt": _moment(run.ended_at if run.status == "COMPLETED" else None),
        "failedAt": _moment(run.ended_at if run.status == "FAILED" else None),
        "cancelledAt": _moment(run.ended_at if run.status == "CANCELLED" else None),
        "nextRunAt": None,
        "idempotencyKey": None,
        "version": run.version,
        "createdAt": rfc3339(run.created_at),
        "updatedAt": rfc3339(run.updated_at),
    }


def run_detail(run: StevoraRun, workspace_id: str) -> Shown:
    """Show a run by itself: with its steps, in the order in which they began."""
    step_runs = [_step_run_row(step_run, run) for step_run in run.step_runs]
    return {**run_row(run, workspace_id), "stepRuns": step_runs}


def _step_run_row(step_run: StevoraStepRun, run: StevoraRun) -> Shown:
    return {
        "id": step_run.id,
        "workflowRunId": run.id,
        "stepName": step_run.step,
        "stepType": STEPS.get(step_run.step, "task"),
        "status": step_run.status,
        "attempt": step_run.attempt,
        "startedAt": rfc3339(step_run.started_at),
        "completedAt": _moment(step_run.ended_at),
    }


def _moment(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)

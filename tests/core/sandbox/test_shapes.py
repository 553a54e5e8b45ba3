"""Every answer has the shape of the vendors' references, written down again by hand."""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from levada.sandbox import Sandbox

Schema = dict[str, Any]


def object_of(required: Schema, optional: Schema | None = None) -> Schema:
    """Describe an object that has these properties and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANY_OBJECT: Schema = {"type": "object"}
UUID: Schema = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}

STEP = object_of(
    {"id": UUID, "identifier": TEXT},
    {"stepable_type": nullable(TEXT), "position": nullable(ANY_OBJECT)},
)
KAPSO_EVENT = object_of(
    {"id": UUID, "event_type": TEXT, "created_at": TIME},
    {
        "direction": nullable(TEXT),
        "edge_label": nullable(TEXT),
        "payload": ANY_OBJECT,
        "step": STEP,
    },
)
EXECUTION_FIELDS: Schema = {
    "id": UUID,
    "status": {"enum": ["running", "waiting", "ended", "failed", "handoff"]},
    "started_at": TIME,
    "last_event_at": TIME,
    "ended_at": nullable(TIME),
    "tracking_id": nullable(UUID),
    "whatsapp_conversation_id": nullable(UUID),
    "workflow": object_of({"id": UUID, "name": TEXT, "status": TEXT}),
    "current_step": nullable(STEP),
}
EXECUTION_DETAIL = object_of(
    EXECUTION_FIELDS
    | {
        "error_details": nullable(ANY_OBJECT),
        "resumable_execution_id": nullable(UUID),
        "execution_context": object_of(
            dict.fromkeys(("vars", "system", "context", "metadata"), ANY_OBJECT)
        ),
        "events": list_of(KAPSO_EVENT),
    }
)
WORKFLOW = object_of(
    {
        "id": UUID,
        "name": TEXT,
        "slug": TEXT,
        "status": {"enum": ["draft", "active", "archived"]},
        "lock_version": COUNT,
        "project_id": UUID,
        "execution_count": COUNT,
        "last_executed_at": nullable(TIME),
        "created_at": TIME,
        "updated_at": TIME,
    }
)
PAGING = object_of(
    {
        "cursors": object_of({"before": TEXT, "after": TEXT}),
        "next": nullable(TEXT),
        "previous": nullable(TEXT),
    }
)
KAPSO_ERROR = object_of({"error": TEXT})

RUN_FIELDS: Schema = {
    "id": TEXT,
    "workspaceId": TEXT,
    "definitionId": TEXT,
    "definition": object_of({"name": TEXT, "version": TEXT}),
    "status": {
        "enum": ["PENDING", "RUNNING", "WAITING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"]
    },
    "currentStepName": nullable(TEXT),
    "input": ANY_OBJECT,
    "state": ANY_OBJECT,
    "output": nullable(ANY_OBJECT),
    "error": nullable(TEXT),
    "totalCostCents": {"type": "number", "minimum": 0},
    "startedAt": nullable(TIME),
    "completedAt": nullable(TIME),
    "failedAt": nullable(TIME),
    "cancelledAt": nullable(TIME),
    "nextRunAt": nullable(TIME),
    "idempotencyKey": nullable(TEXT),
    "version": {"type": "integer", "minimum": 1},
    "createdAt": TIME,
    "updatedAt": TIME,
}
STEP_RUN = object_of(
    {
        "id": TEXT,
        "workflowRunId": TEXT,
        "stepName": TEXT,
        "stepType": TEXT,
        "status": TEXT,
        "attempt": {"type": "integer", "minimum": 1},
        "startedAt": TIME,
        "completedAt": nullable(TIME),
    }
)
STEVORA_EVENT = object_of(
    {
        "id": TEXT,
        "workflowRunId": TEXT,
        "stepRunId": nullable(TEXT),
        "eventType": {"type": "string", "pattern": "^[A-Z_]+$"},
        "payload": ANY_OBJECT,
        "createdAt": TIME,
    }
)
META = object_of({"page": COUNT, "pageSize": COUNT, "total": COUNT, "totalPages": COUNT})
STEVORA_ERROR = object_of(
    {
        "success": {"const": False},
        "error": object_of({"code": TEXT, "message": TEXT, "details": ANY_OBJECT}),
    }
)


def kapso_list(row: Schema) -> Schema:
    return object_of({"data": list_of(row), "paging": PAGING})


def stevora_list(row: Schema) -> Schema:
    return object_of({"success": {"const": True}, "data": list_of(row), "meta": META})


SHAPES = {
    "kapso /workflows": object_of({"data": list_of(WORKFLOW)}),
    "kapso /workflows/{workflow}": object_of({"data": WORKFLOW}),
    "kapso /workflows/{workflow}/executions": kapso_list(object_of(EXECUTION_FIELDS)),
    "kapso /workflow_executions/{execution}": object_of({"data": EXECUTION_DETAIL}),
    "kapso /workflow_executions/{execution}/events": kapso_list(KAPSO_EVENT),
    "kapso /workflows/none": KAPSO_ERROR,
    "kapso /workflows?status=none": KAPSO_ERROR,
    "stevora /health": object_of({"status": TEXT, "checks": ANY_OBJECT}),
    "stevora /v1/workflow-runs": stevora_list(object_of(RUN_FIELDS)),
    "stevora /v1/workflow-runs/{run}": object_of(
        {
            "success": {"const": True},
            "data": object_of(RUN_FIELDS | {"stepRuns": list_of(STEP_RUN)}),
        }
    ),
    "stevora /v1/workflow-runs/{run}/events": stevora_list(STEVORA_EVENT),
    "stevora /v1/workflow-runs/none": STEVORA_ERROR,
    "stevora /v1/workflow-runs?page=none": STEVORA_ERROR,
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.mark.parametrize("endpoint", SHAPES)
def test_an_answer_has_the_documented_shape(
    sandbox: Sandbox, client: httpx.Client, endpoint: str
) -> None:
    vendor, path = endpoint.split()
    server = sandbox.kapso if vendor == "kapso" else sandbox.stevora
    executions, runs = sandbox.kapso.world.executions, sandbox.stevora.world.runs
    for execution, run_id in zip(executions.values(), runs, strict=True):
        names = {"execution": execution.id, "workflow": execution.workflow.id, "run": run_id}
        url = server.base_url + path.format_map(names)

        answer = client.get(url, headers={"x-api-key": server.api_key})

        jsonschema.validate(answer.json(), SHAPES[endpoint])
        assert answer.headers["Content-Type"] == "application/json"

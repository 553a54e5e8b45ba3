"""Stevora's error envelope."""

from collections.abc import Mapping
from typing import Any

from levada.sandbox.http import Response, json_response

__all__ = ["error_response"]


def error_response(
    status: int,
    code: str,
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer that a request was not successful."""
    error = {"code": code, "message": message, "details": details or {}}
    return json_response(status, {"success": False, "error": error}, headers)

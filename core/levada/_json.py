"""The one name for "any JSON value"."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, a list of them, or a dict with str keys."""

"""The pipeline file: load it, or build a single connector without one."""

from levada.config.building import assignments, build
from levada.config.loading import load

__all__ = ["assignments", "build", "load"]

"""Levada carries workflow-execution events from the engines that write them to those who need them.

Everything a plugin author or an embedder needs is here by name. Names are imported when first
used, so that ``levada --help`` does not wait for what it does not need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from levada._json import Json as Json
    from levada.batch import Batch as Batch
    from levada.batch import Checkpoint as Checkpoint
    from levada.batch import Delivery as Delivery
    from levada.batch import Format as Format
    from levada.batch import Order as Order
    from levada.batch import Partition as Partition
    from levada.batch import Rejected as Rejected
    from levada.config import load as load
    from levada.connector import Connector as Connector
    from levada.connector import Context as Context
    from levada.connector import HttpClient as HttpClient
    from levada.connector import HttpResponse as HttpResponse
    from levada.connector import option as option
    from levada.errors import Closed as Closed
    from levada.errors import ConfigError as ConfigError
    from levada.errors import Disable as Disable
    from levada.errors import Failure as Failure
    from levada.errors import Fatal as Fatal
    from levada.errors import Gone as Gone
    from levada.errors import LevadaError as LevadaError
    from levada.errors import PluginError as PluginError
    from levada.errors import Problem as Problem
    from levada.errors import Reject as Reject
    from levada.errors import Retry as Retry
    from levada.errors import SinkError as SinkError
    from levada.errors import SourceError as SourceError
    from levada.errors import StateError as StateError
    from levada.errors import TooLarge as TooLarge
    from levada.event import Event as Event
    from levada.event import Origin as Origin
    from levada.header import valid_header_value as valid_header_value
    from levada.header import valid_headers as valid_headers
    from levada.hookspecs import hookimpl as hookimpl
    from levada.pipeline import Pipeline as Pipeline
    from levada.report import Report as Report
    from levada.secret import ApiKey as ApiKey
    from levada.secret import Secret as Secret
    from levada.setup import Settings as Settings
    from levada.setup import Setup as Setup
    from levada.setup import SinkSetup as SinkSetup
    from levada.setup import SourceSetup as SourceSetup
    from levada.sink import Sink as Sink
    from levada.sink import SinkContext as SinkContext
    from levada.source import Backlog as Backlog
    from levada.source import Source as Source
    from levada.source import SourceContext as SourceContext
    from levada.streaming import stream as stream
    from levada.url import valid_url as valid_url

_HOMES = {
    "_json": "Json",
    "batch": "Batch Checkpoint Delivery Format Order Partition Rejected",
    "config": "load",
    "connector": "Connector Context HttpClient HttpResponse option",
    "errors": "Closed ConfigError Disable Failure Fatal Gone LevadaError PluginError Problem Reject "
    "Retry SinkError SourceError StateError TooLarge",
    "event": "Event Origin",
    "header": "valid_header_value valid_headers",
    "hookspecs": "hookimpl",
    "pipeline": "Pipeline",
    "report": "Report",
    "secret": "ApiKey Secret",
    "setup": "Settings Setup SinkSetup SourceSetup",
    "sink": "Sink SinkContext",
    "source": "Backlog Source SourceContext",
    "streaming": "stream",
    "url": "valid_url",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  # computed, so that no name is listed a third time


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'levada' has no attribute {name!r}")
    value = getattr(import_module(f"levada.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)

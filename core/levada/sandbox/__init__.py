"""Local vendors and a webhook receiver on loopback, for development, tests and the demo.

`Sandbox` serves a `KapsoWorld` and a `StevoraWorld` the way the vendors serve theirs;
`Receiver` takes webhooks and remembers them.
"""

from levada.sandbox.http import RecordedRequest, Response
from levada.sandbox.kapso.api import KapsoServer
from levada.sandbox.kapso.data import KapsoEvent, KapsoExecution, KapsoWorkflow
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.limits import RateLimit
from levada.sandbox.receiver import Answer, Delivery, Receiver
from levada.sandbox.sandbox import Sandbox
from levada.sandbox.server import Server
from levada.sandbox.stevora.api import StevoraServer
from levada.sandbox.stevora.data import StevoraDefinition, StevoraEvent, StevoraRun
from levada.sandbox.stevora.world import StevoraWorld
from levada.sandbox.threads import run_in_thread

__all__ = [
    "Answer",
    "Delivery",
    "KapsoEvent",
    "KapsoExecution",
    "KapsoServer",
    "KapsoWorkflow",
    "KapsoWorld",
    "RateLimit",
    "Receiver",
    "RecordedRequest",
    "Response",
    "Sandbox",
    "Server",
    "StevoraDefinition",
    "StevoraEvent",
    "StevoraRun",
    "StevoraServer",
    "StevoraWorld",
    "run_in_thread",
]

"""Local vendors and a webhook receiver on loopback, for development, tests and the demo.

`Sandbox` serves a `KapsoWorld` and a `StevoraWorld` the way the vendors serve theirs;
`Receiver` takes webhooks and remembers them. Quirks make a vendor behave as its reference does
not say, a `Fault` breaks a request on its way, and with a `VirtualClock` a world's `simulate`d
day passes in no time.
"""

from levada.sandbox.faults import Fault
from levada.sandbox.http import RecordedRequest, Response
from levada.sandbox.kapso.api import KapsoServer
from levada.sandbox.kapso.data import KapsoEvent, KapsoExecution, KapsoWorkflow
from levada.sandbox.kapso.quirks import KapsoQuirks
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.limits import RateLimit
from levada.sandbox.quirks import Quirks, integer_id
from levada.sandbox.receiver import Answer, Delivery, Receiver
from levada.sandbox.sandbox import Sandbox
from levada.sandbox.server import Server
from levada.sandbox.simulation import simulate
from levada.sandbox.stevora.api import StevoraServer
from levada.sandbox.stevora.data import StevoraDefinition, StevoraEvent, StevoraRun
from levada.sandbox.stevora.quirks import StevoraQuirks
from levada.sandbox.stevora.world import StevoraWorld
from levada.sandbox.threads import run_in_thread
from levada.sandbox.timeline import VirtualClock
from levada.sandbox.world import When

__all__ = [
    "Answer",
    "Delivery",
    "Fault",
    "KapsoEvent",
    "KapsoExecution",
    "KapsoQuirks",
    "KapsoServer",
    "KapsoWorkflow",
    "KapsoWorld",
    "Quirks",
    "RateLimit",
    "Receiver",
    "RecordedRequest",
    "Response",
    "Sandbox",
    "Server",
    "StevoraDefinition",
    "StevoraEvent",
    "StevoraQuirks",
    "StevoraRun",
    "StevoraServer",
    "StevoraWorld",
    "VirtualClock",
    "When",
    "integer_id",
    "run_in_thread",
    "simulate",
]

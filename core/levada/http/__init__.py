"""HTTP for connectors: one total deadline, bounded answers, patient GETs, POSTs sent once.

`Http` belongs to one pipeline or command and makes a `Client` for each credential and origin.
Nothing else in Levada imports httpx.
"""

from levada.http.client import Answer, Client
from levada.http.clock import Clock
from levada.http.http import Http

__all__ = ["Answer", "Client", "Clock", "Http"]

"""The Python client: HTTP for requests, a socket for what happens meanwhile.

from joinery.client import Client, Transcript

with Client(base_url, ws_url, token) as client:
    run = client.start(client.publish(source)["workflow_id"], {"document": "..."})
    for message in client.follow(run["run_id"]):
        print(message["event"])

`AsyncClient` is the same for asyncio. The rules of both are in `core.py`, which knows
neither sockets nor time.
"""

from joinery.client.async_http import AsyncClient
from joinery.client.async_live import AsyncLive
from joinery.client.batches import merged
from joinery.client.core import Core
from joinery.client.cursor import EventCursor
from joinery.client.http import Client
from joinery.client.live import Live
from joinery.client.timing import Timing
from joinery.client.transcript import Transcript

__all__ = [
    "AsyncClient",
    "AsyncLive",
    "Client",
    "Core",
    "EventCursor",
    "Live",
    "Timing",
    "Transcript",
    "merged",
]

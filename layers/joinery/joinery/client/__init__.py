"""The Python client: HTTP for requests, a socket for what happens meanwhile.

from joinery.client import Client, Transcript

with Client(base_url, ws_url, token) as client:
    run = client.start(client.publish(source)["workflow_id"], {"document": "..."})
    for message in client.follow(run["run_id"]):
        print(message["event"])
"""

from joinery.client.cursor import EventCursor
from joinery.client.http import Client
from joinery.client.transcript import Transcript

__all__ = ["Client", "EventCursor", "Transcript"]

"""Records a run of the local stack for the tests of the clients.

`python -m tools.record_run` starts the stack if need be, runs four writers at once in a
loop of two rounds, one of which fails and is tried again, and writes what a plain
WebSocket was sent to `tests/data/four_writers.json`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from joinery_cli import local

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "tests" / "data" / "four_writers.json"

WRITERS = ("crimson", "family", "hebrew", "zalgo")

NODES = "\n  ".join(
    f"{name}: {{type: llm, prompt: go, retry: {{attempts: 3, backoff: 100ms}}}}" for name in WRITERS
)

SOURCE = f"""\
version: 1
name: four-writers
nodes:
  {NODES}
  sum: {{type: template, template: "{{{{ nodes.family.text }}}}"}}
  again: {{type: loop, max_rounds: 2}}
edges:
  - start -> {", ".join(WRITERS)}
  - {", ".join(WRITERS)} -> sum
  - sum -> again
  - again.repeat -> {", ".join(WRITERS)}
  - again.done -> end
"""

TEXTS = {
    "crimson": "The quick brown fox jumps over the lazy dog, and then it sleeps. 🦊",
    "family": "👩‍👩‍👧‍👦 family 🇺🇦🇯🇵 flags 👍🏽 skin 🏳️‍🌈 rainbow 🧑🏿‍🚀 space",
    "hebrew": "שלום עולם مرحبا بالعالم mixed with Latin and 42",
    "zalgo": "e\u0301 n\u0303 Z\u0351\u036b\u0343a\u0363l\u0368g\u036bo\u0308 marks\r\nlines\rend",
}


def cassette() -> list[dict[str, Any]]:
    """Returns what the writers say: one of them breaks off in its first round."""
    pace = {"tokens_per_second": 12}
    entries: list[dict[str, Any]] = [
        {"node": name, "text": text, **pace} for name, text in TEXTS.items()
    ]
    broken = {"name": "TransientModelStream", "message": "broke", "after_tokens": 4}
    first = {"node": "family", "path": "1", "call": 1, "text": "Lost words, lost for good 🥀"}
    return [*entries, {**first, "error": broken, **pace}]


def main() -> int:
    """Writes the file."""
    with tempfile.TemporaryDirectory() as home:
        stack = local.up(lambda *_: None, model=False, home=Path(home))
        try:
            messages = record(stack)
        finally:
            local.down(home=Path(home))
    TARGET.parent.mkdir(exist_ok=True)
    rows = ",\n".join(json.dumps(message, ensure_ascii=False) for message in messages)
    TARGET.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    print(f"{len(messages)} messages in {TARGET.relative_to(ROOT)}")
    return 0


def record(stack: local.LocalStack) -> list[dict[str, Any]]:
    """Returns the events and deltas of one run in the order in which they came."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    with httpx.Client(base_url=stack.http_api_url, headers=headers, trust_env=False) as http:
        workflow = http.post("/workflows", json={"source": SOURCE}, timeout=30).json()
        with connect(stack.websocket_url, additional_headers=headers, proxy=None) as socket:
            body = {"workflow_id": workflow["workflow_id"], "cassette": cassette()}
            run_id = http.post("/runs", json=body, timeout=30).json()["run_id"]
            socket.send(json.dumps({"action": "subscribe", "request_id": "1", "run_id": run_id}))
            messages: list[dict[str, Any]] = []
            while not messages or messages[-1]["event"] != "run.completed":
                message = json.loads(socket.recv(timeout=60))
                if message["event"] == "run.failed":
                    raise SystemExit(f"the run failed: {message['data']}")
                if message["event"] not in ("ack", "pong"):
                    messages.append(message)
            return messages


if __name__ == "__main__":
    sys.exit(main())

"""Messages of runs, as the engines send them."""

from __future__ import annotations

from itertools import count

RUN = "run_01jd0000000000000000000000"


class Log:
    """Makes events with rising seqs; a second passes between two of them."""

    def __init__(self):
        self._seq = count(1)
        self.at = 0

    def event(self, name, node_id=None, path="", /, **data):
        self.at += 1
        seq = next(self._seq)
        message = {
            "v": 1,
            "event": name,
            "run_id": RUN,
            "seq": seq,
            "head": seq,
            "timestamp": f"2026-01-01T00:00:{self.at:02d}.000Z",
            "data": data,
        }
        if node_id:
            message |= {"node_id": node_id, "path": path}
        return message

    def started(self, nodes=None, edges=(), loops=()):
        rows = [
            {"node_id": node_id, "type": kind, "loops": list(around)}
            for node_id, kind, around in nodes or DEBATE
        ]
        workflow = {"workflow_id": "wf_1", "version": 1, "name": "debate"}
        return self.event(
            "run.started",
            workflow=workflow,
            incarnation=1,
            nodes=rows,
            edges=[list(edge) for edge in edges or EDGES],
            loops=[list(loop) for loop in loops or LOOPS],
        )


DEBATE = [
    ("pro", "agent", ["again"]),
    ("con", "agent", ["again"]),
    ("verdict", "agent", ["again"]),
    ("again", "loop", ["again"]),
]
EDGES = [
    ("start", "", "pro"),
    ("start", "", "con"),
    ("pro", "", "verdict"),
    ("con", "", "verdict"),
    ("verdict", "", "again"),
    ("again", "done", "end"),
]
LOOPS = [("again", ["pro", "con"], 2)]
USAGE = {"input_tokens": 10, "output_tokens": 4, "model_calls": 1, "estimated": False}


def delta(node_id, offset, text, path="1", attempt=1, stream="text"):
    return {
        "v": 1,
        "event": "text.delta",
        "run_id": RUN,
        "head": 1,
        "timestamp": "2026-01-01T00:00:00.000Z",
        "node_id": node_id,
        "path": path,
        "data": {"attempt": attempt, "stream": stream, "offset": offset, "text": text},
    }


def debate():
    """A whole debate of two rounds, in which `con` needs a second attempt."""
    log = Log()
    yield log.started()
    yield log.event("node.started", "pro", "1", attempt=1, type="agent")
    yield log.event("node.started", "con", "1", attempt=1, type="agent")
    yield delta("pro", 0, "It is good. ")
    yield delta("con", 0, "It is b")
    error = {"code": "model_unavailable", "message": "the provider answered 503"}
    yield log.event("node.retrying", "con", "1", attempt=1, error=error)
    yield delta("pro", 12, "It pays for itself. 日本語")
    yield log.event("usage.recorded", "pro", "1", **USAGE)
    yield log.event("node.completed", "pro", "1", attempt=1, duration_ms=4, streams={})
    yield log.event("node.started", "con", "1", attempt=2, type="agent")
    yield delta("con", 0, "It is bad.", attempt=2)
    yield log.event("usage.recorded", "con", "1", **USAGE)
    yield log.event("node.completed", "con", "1", attempt=2, duration_ms=4, streams={})
    yield log.event("node.started", "verdict", "1", attempt=1, type="agent")
    yield delta("verdict", 0, '{"score": 60}')
    yield log.event("usage.recorded", "verdict", "1", **USAGE)
    yield log.event("node.completed", "verdict", "1", attempt=1, duration_ms=4, streams={})
    yield log.event("node.started", "again", "1", attempt=1, type="loop")
    yield log.event("node.completed", "again", "1", attempt=1, port="repeat")
    yield log.event("loop.round", "again", "1", round=2, path="2", max_rounds=2)
    for node_id in ("pro", "con", "verdict"):
        yield log.event("node.started", node_id, "2", attempt=1, type="agent")
        yield delta(node_id, 0, f"{node_id} again", path="2")
        yield log.event("usage.recorded", node_id, "2", **USAGE)
        yield log.event("node.completed", node_id, "2", attempt=1, streams={})
    yield log.event("node.started", "again", "2", attempt=1, type="loop")
    yield log.event("node.completed", "again", "2", attempt=1, port="done", reason="max_rounds")
    total = {"input_tokens": 60, "output_tokens": 24, "model_calls": 7, "estimated": False}
    yield log.event("run.completed", usage=total, duration_ms=1)

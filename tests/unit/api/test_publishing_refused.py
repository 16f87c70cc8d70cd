"""What cannot run is refused by name, and leaves nothing behind; sizes from 1 node to 2,000."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from kit.installation import Api

from joinery.errors import Unavailable


def chain(count: int, *, name: str = "n{}", **node: Any) -> dict[str, Any]:
    names = [name.format(i) for i in range(count)]
    return {
        "version": 1,
        "name": "sized",
        "nodes": {n: {"type": "llm", "prompt": "hi", **node} for n in names},
        "edges": [f"{a} -> {b}" for a, b in pairwise(["start", *names, "end"])],
    }


def left_behind(server: Api) -> tuple[int, int]:
    installation = server.installation
    return len(installation.workflows.versions), len(installation.makes.made)


WIDE = "a_long_name_that_somebody_generated_for_a_node_{:06d}"

PERSONA = {
    **chain(90, type="agent", agent="who"),
    "agents": {"who": {"persona": "I am long. " * 10_000}},
}

REFUSED = {
    "nothing": ({"version": 1, "name": "x", "nodes": {}, "edges": []}, "schema.value"),
    "2,001 nodes": (chain(2_001), "limit.nodes"),
    "a definition over 1 MB": (chain(2_000, name=WIDE), "limit.definition", 0),
    "a plan over 8 MiB": (PERSONA, "limit.plan"),
    "a node that takes too long": (chain(3, timeout="1h"), "limit.timeout"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_leaves_nothing_behind(server: Api, name: str) -> None:
    source, code, *opt = REFUSED[name]
    reply = server.post("/workflows", {"source": source, "opt": opt[0] if opt else None})
    assert (reply.status, reply.error["code"]) == (422, "invalid_workflow")
    errors = reply.error["details"]["errors"]
    assert code in {row["code"] for row in errors}
    assert all(row["line"] > 0 for row in errors)
    assert "Traceback" not in reply.raw
    assert left_behind(server) == (0, 0)


def test_a_machine_that_cannot_be_made_publishes_nothing(
    server: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(name: str, definition: str) -> str:
        raise Unavailable("Step Functions is throttled")

    monkeypatch.setattr(server.installation.makes, "ensure", refuses)
    reply = server.post("/workflows", {"source": chain(3)})
    assert (reply.status, reply.error["code"]) == (503, "unavailable")
    assert left_behind(server) == (0, 0)
    assert server.get("/workflows").body["workflows"] == []


def test_a_version_that_is_refused_leaves_the_one_before_it(server: Api) -> None:
    first = server.post("/workflows", {"source": chain(2)}).body
    again = server.post("/workflows", {"source": {**chain(3, timeout="1h")}})
    assert again.status == 422
    (listed,) = server.get("/workflows").body["workflows"]
    assert listed["version"] == first["version"] == 1


@pytest.mark.parametrize("count", [1, 2_000])
@pytest.mark.parametrize("opt", [0, 1])
def test_the_smallest_and_the_largest_are_published(server: Api, count: int, opt: int) -> None:
    begun = time.perf_counter()
    reply = server.post("/workflows", {"source": chain(count), "opt": opt})
    assert time.perf_counter() - begun < 20.0
    assert reply.status == 201
    assert reply.body["report"]["states"] == count + 1
    assert reply.body["report"]["transitions"]["max"] == count + 1
    assert reply.body["report"]["definition_bytes"] < 1_048_576

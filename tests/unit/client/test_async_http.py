"""The client for asyncio asks as the other one does."""

from __future__ import annotations

import asyncio
import inspect
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from joinery import errors
from joinery.client import AsyncClient, Client, Timing

from .fake_api import RUN, Api, event, running

ROOT = Path(__file__).parents[3]


def awaited(api, ask):
    async def run():
        async with AsyncClient(api.http_url, "", api.token) as client:
            return await ask(client)

    with running(api):
        return asyncio.run(run())


def test_both_clients_have_the_same_methods_with_the_same_arguments():
    def public(kind):
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name not in ("follow", "batches")
        }

    assert public(Client) == public(AsyncClient)


def test_a_start_repeats_its_key_when_the_api_is_busy():
    busy = {"error": {"code": "unavailable", "message": "busy", "retryable": True}}
    api = Api(answers={("POST", "/runs"): [(503, busy), (202, {"run_id": RUN})]})
    assert awaited(api, lambda client: client.start("wf_1", {"a": 1})) == {"run_id": RUN}
    keys = {headers["Idempotency-Key"] for _, _, _, headers in api.requests}
    assert len(api.requests) == 2
    assert len(keys) == 1


def test_pages_are_read_to_the_end():
    rows = [{"offset": at} | {"node_id": "a"} for at in range(9)]
    api = Api(events=[event(seq, "node.started", "a") for seq in range(1, 600)], texts=rows)
    assert len(awaited(api, lambda client: client.events(RUN))) == 599
    assert awaited(api, lambda client: client.texts(RUN, "a")) == rows


@pytest.mark.parametrize(
    ("status", "kind"), [(404, errors.NotFound), (403, errors.Unauthorized)]
)  # fmt: skip
def test_answers_become_errors(status, kind):
    api = Api(answers={("GET", f"/runs/{RUN}"): [(status, {"message": "no"})]})
    with pytest.raises(kind):
        awaited(api, lambda client: client.get(RUN))


def test_an_empty_answer_of_a_deletion_is_one():
    api = Api(answers={("DELETE", f"/runs/{RUN}"): [(204, b"")]})
    assert awaited(api, lambda client: client.delete(RUN)) is None


def test_the_javascript_client_waits_as_long():
    source = (ROOT / "console" / "client" / "timing.js").read_text("utf-8")
    found = {
        re.sub("([A-Z])", lambda m: f"_{m[1].lower()}", name): float(value)
        for name, value in re.findall(r"^  (\w+): ([\d.]+),$", source, re.MULTILINE)
    }
    assert found == asdict(Timing())

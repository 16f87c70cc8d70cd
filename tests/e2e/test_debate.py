"""The debate on the local stack: real state machine, real Lambdas, a plain WebSocket client."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.api import Api, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parent.parent.parent

DOCUMENT = "Wir schlagen vor: 4 Tage Woche. 👩‍👩‍👧 שלום {{ inputs.document }}"


def cassette(score_1: int = 40, score_2: int = 90) -> list[dict[str, Any]]:
    return [
        {"node": "pro", "text": "Ja, weil 🙂 es hilft.", "tokens_per_second": 60},
        {"node": "con", "text": "Nein, denn es kostet Geld.", "tokens_per_second": 60},
        {"node": "verdict", "path": "1", "text": json.dumps({"reason": "so", "score": score_1})},
        {"node": "verdict", "path": "2", "text": json.dumps({"reason": "ok", "score": score_2})},
    ]


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(stack) as made:
        yield made


@pytest.fixture(scope="module")
def debate(api: Api) -> str:
    return api.publish(ROOT / "examples" / "debate.yaml")


def test_a_plain_client_rebuilds_every_agents_text(api: Api, debate: str) -> None:
    run_id = api.start(debate, inputs={"document": DOCUMENT}, cassette=cassette())
    messages = api.watch(run_id)

    run = api.get(run_id)
    assert run["status"] == "completed"
    assert run["outputs"]["score"] == 90
    rebuilt = texts(messages)
    assert rebuilt[("pro", "1", 1)] == "Ja, weil 🙂 es hilft."
    for message in messages:
        if message["event"] == "node.completed" and message["data"]["streams"]:
            stream = message["data"]["streams"]["text"]
            place = (message["node_id"], message["path"], message["data"]["attempt"])
            assert len(rebuilt[place]) == stream["length"]
            assert hashlib.sha256(rebuilt[place].encode()).hexdigest() == stream["sha256"]
    seqs = sorted({m["seq"] for m in messages if "seq" in m})
    assert seqs == list(range(1, run["head"] + 1))


def test_both_sides_run_at_once_and_the_judge_once_a_round(api: Api, debate: str) -> None:
    run_id = api.start(debate, inputs={"document": "x"}, cassette=cassette())
    messages = api.watch(run_id)
    order = [(m["event"], m.get("node_id"), m.get("path")) for m in messages if "seq" in m]
    for path in ("1", "2"):
        begun = [order.index(("node.started", side, path)) for side in ("pro", "con")]
        ended = [order.index(("node.completed", side, path)) for side in ("pro", "con")]
        assert max(begun) < min(ended), "the sides took turns"
        assert order.count(("node.started", "verdict", path)) == 1
        assert order.index(("node.started", "verdict", path)) > max(ended)
    run = api.get(run_id)
    summary = {(n["node_id"], n["path"]): (n["status"], n["attempts"]) for n in run["nodes"]}
    assert summary[("verdict", "2")] == ("completed", 1)
    assert {n for n, _ in summary} == {"pro", "con", "verdict", "again"}


def test_a_late_client_gets_everything(api: Api, debate: str) -> None:
    run_id = api.start(debate, inputs={"document": "x"}, cassette=cassette(90))
    live = api.watch(run_id)
    late = api.watch(run_id)
    assert texts(late) == texts(live)
    assert [m["seq"] for m in late if "seq" in m] == list(range(1, late[-1]["head"] + 1))


def test_transitions_are_those_that_were_predicted(api: Api, debate: str, stack: Any) -> None:
    run_id = api.start(debate, inputs={"document": "x"}, cassette=cassette())
    api.watch(run_id)
    cost = api.http.get(f"/runs/{run_id}/cost").json()
    # enter, then twice: fork, pro, con, verdict with again, choice; and end.
    assert cost["transitions"] == cost["transitions_predicted"] == 1 + 2 * 5 + 1
    assert cost["model_calls"] == 6
    assert (transactions := cost["aws_calls"]["dynamodb.TransactWriteItems"]) > 0
    # Each has two items or more, which cost twice what they cost alone.
    assert cost["dynamodb_units"]["write"] >= 4 * transactions
    assert cost["price_usd"] > 12 * 25e-6


def test_the_same_key_gives_the_same_run(api: Api, debate: str) -> None:
    body = {"workflow_id": debate, "inputs": {"document": "x"}, "cassette": cassette(90)}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = api.http.post("/runs", json=body, headers=key)
    second = api.http.post("/runs", json=body, headers=key)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["run_id"] == second.json()["run_id"]
    other = api.http.post("/runs", json={**body, "inputs": {"document": "y"}}, headers=key)
    assert other.status_code == 409
    api.watch(first.json()["run_id"])


def test_a_failed_node_fails_the_run_with_node_and_reason(api: Api, debate: str) -> None:
    script = [{"node": "con", "error": {"name": "PermanentModelAuth", "message": "no key"}}]
    run_id = api.start(debate, inputs={"document": "x"}, cassette=script)
    messages = api.watch(run_id)
    assert messages[-1]["event"] == "run.failed"
    run = api.get(run_id)
    assert run["status"] == "failed"
    assert run["error"]["node_id"] == "con"
    assert run["error"]["code"] == "model_auth"
    assert "verdict" not in {n["node_id"] for n in run["nodes"]}


def test_a_cut_stream_is_told_again_as_a_new_attempt(api: Api, debate: str) -> None:
    cut = {"name": "TransientModelStream", "message": "cut", "after_tokens": 2}
    script = [{"node": "pro", "path": "1", "call": 1, "text": "one two three", "error": cut}]
    run_id = api.start(debate, inputs={"document": "x"}, cassette=[*script, *cassette(90)])
    messages = api.watch(run_id)
    assert messages[-1]["event"] == "run.completed"
    rebuilt = texts(messages)
    assert rebuilt[("pro", "1", 1)] == "one two"
    assert rebuilt[("pro", "1", 2)] == "Ja, weil 🙂 es hilft."
    assert "node.retrying" in {m["event"] for m in messages}


def test_cancel_stops_the_run_and_says_so(api: Api, debate: str) -> None:
    slow = [
        {"node": side, "text": "word " * 400, "tokens_per_second": 20} for side in ("pro", "con")
    ]
    run_id = api.start(debate, inputs={"document": "x"}, cassette=slow)
    messages: list[dict[str, Any]] = []
    watcher = threading.Thread(target=lambda: messages.extend(api.watch(run_id)))
    watcher.start()
    answer = api.http.post(f"/runs/{run_id}/cancel")
    assert answer.status_code == 200, answer.text
    watcher.join(30)
    assert messages[-1]["event"] == "run.cancelled"
    assert api.get(run_id)["status"] == "cancelled"
    assert api.http.post(f"/runs/{run_id}/cancel").status_code == 200


def test_a_mebibyte_goes_through_and_one_byte_more_is_refused(api: Api, debate: str) -> None:
    document = "ü" * (1_048_576 // 2)
    run_id = api.start(debate, inputs={"document": document}, cassette=cassette(90))
    api.watch(run_id)
    assert api.get(run_id)["status"] == "completed"
    body = {"workflow_id": debate, "inputs": {"document": document + "x"}}
    refused = api.http.post("/runs", json=body)
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "too_large"
    assert "1,048,576" in refused.json()["error"]["message"]


def test_an_empty_document_is_a_document(api: Api, debate: str) -> None:
    run_id = api.start(debate, inputs={"document": ""}, cassette=cassette(90))
    api.watch(run_id)
    assert api.get(run_id)["status"] == "completed"


def run_command(*arguments: str, home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "joinery_cli", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "JOINERY_LOCAL_HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("example", ["debate", "switch", "chain"])
def test_both_engines_give_the_same(stack: LocalStack, example: str) -> None:
    given = ["--input", "document=@README.md"] if example == "debate" else []
    common = [f"examples/{example}.yaml", *given, "--json", "--scripted", "bench/empty.json"]
    inline = run_command("run", *common, "--engine", "inline", home=stack.home)
    local = run_command("run", *common, "--engine", "local", home=stack.home)
    assert inline["status"] == local["status"] == "completed"
    assert inline["outputs"] == local["outputs"]
    assert inline["nodes"] == local["nodes"]
    assert inline["tokens"] == local["tokens"]
    assert inline["model_calls"] == local["model_calls"]
    assert local["transitions"] > 0
    assert local["aws_calls"]

"""Starting, looking up, listing and cancelling runs over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from kit.installation import Api

from joinery.errors import NotFound, PermanentInternal, Unavailable
from joinery.runs.ids import run_id_for_key

SAME_KEY = {"Idempotency-Key": "one"}


def start(server: Api, workflow_id: str, who: str = "Ada", **more: Any) -> Any:
    extra = {k: more.pop(k) for k in ("version", "session_id", "cassette", "model") if k in more}
    body = {"workflow_id": workflow_id, "inputs": {"who": who}, **extra}
    return server.post("/runs", body, **more)


def test_a_start_begins_an_execution_named_by_the_run(server: Api, workflow_id: str) -> None:
    reply = start(server, workflow_id, session_id="s-1")
    assert reply.status == 202
    run_id = reply.body["run_id"]
    assert reply.body["status"] == "running"
    [(machine, name, payload)] = server.installation.runs.started
    assert name == run_id
    assert payload == {"run_id": run_id, "plan": f"{workflow_id}/1"}
    assert machine in server.get(f"/workflows/{workflow_id}").body["machine"]
    view = server.get(f"/runs/{run_id}").body
    assert view["status"] == "running"
    assert view["session_id"] == "s-1"
    assert view["workflow"] == {"workflow_id": workflow_id, "version": 1, "name": "greet"}


def test_all_that_is_wrong_with_the_inputs_is_told(server: Api, workflow_id: str) -> None:
    body = {"workflow_id": workflow_id, "inputs": {"who": 7, "extra": 1}}
    reply = server.post("/runs", body)
    assert (reply.status, reply.error["code"]) == (422, "invalid_input")
    assert {row["input"] for row in reply.error["details"]["errors"]} == {"who", "extra"}
    assert not server.installation.runs.started


def test_an_input_above_the_limit_names_both_sizes(server: Api, workflow_id: str) -> None:
    reply = start(server, workflow_id, "x" * 1_100_000)
    assert (reply.status, reply.error["code"]) == (413, "too_large")
    assert reply.error["details"]["actual"] == 1_100_000
    assert reply.error["details"]["limit"] == 1_048_576


def test_a_run_of_an_older_version_stays_pinned_to_it(
    server: Api, workflow_id: str, source: str
) -> None:
    server.post("/workflows", {"source": source.replace("Hello", "Bye")})
    assert start(server, workflow_id).status == 202
    assert start(server, workflow_id, version=1).status == 202
    plans = [payload["plan"] for _, _, payload in server.installation.runs.started]
    assert plans == [f"{workflow_id}/2", f"{workflow_id}/1"]


def test_a_cassette_and_a_model_are_kept_with_the_run(server: Api, workflow_id: str) -> None:
    cassette = [{"node": "hello", "text": "hi"}]
    reply = start(server, workflow_id, cassette=cassette, model="openai:gpt-x")
    extra = server.installation.store.extra(reply.body["run_id"])
    assert extra["cassette"] == cassette
    assert extra["model"] == "openai:gpt-x"


# -- the same key again ------------------------------------------------------------------


def test_the_same_key_again_gives_the_same_run(server: Api, workflow_id: str) -> None:
    first = start(server, workflow_id, headers=SAME_KEY)
    again = start(server, workflow_id, headers=SAME_KEY)
    assert (first.status, again.status) == (202, 200)
    assert first.body["run_id"] == again.body["run_id"]
    assert len(server.installation.runs.started) == 1


def test_the_same_key_for_another_request_is_a_conflict(server: Api, workflow_id: str) -> None:
    first = start(server, workflow_id, headers=SAME_KEY)
    other = start(server, workflow_id, "Grace", headers=SAME_KEY)
    assert (other.status, other.error["code"]) == (409, "conflict")
    assert other.error["details"]["run_id"] == first.body["run_id"]


def test_keys_of_two_owners_have_nothing_to_do_with_each_other(
    server: Api, workflow_id: str, source: str
) -> None:
    theirs = server.post("/workflows", {"source": source}, owner="you").body["workflow_id"]
    mine = start(server, workflow_id, headers=SAME_KEY)
    yours = start(server, theirs, headers=SAME_KEY, owner="you")
    assert yours.status == 202
    assert mine.body["run_id"] != yours.body["run_id"]


def test_a_repeated_request_means_the_version_of_the_first(
    server: Api, workflow_id: str, source: str
) -> None:
    first = start(server, workflow_id, headers=SAME_KEY)
    server.post("/workflows", {"source": source.replace("Hello", "Bye")})
    again = start(server, workflow_id, headers=SAME_KEY)
    assert again.status == 200
    assert again.body == first.body


def test_a_repeated_request_starts_what_was_made_and_never_started(
    server: Api, workflow_id: str
) -> None:
    store, mark = server.installation.store, server.installation.store.mark_started
    server.installation.runs.start = dies  # type: ignore[method-assign]  # the process is killed
    assert start(server, workflow_id, headers=SAME_KEY).status == 500
    del server.installation.runs.start
    run_id = run_id_for_key("me", workflow_id, "one")
    assert store.get_run(run_id).status == "queued"
    assert mark == store.mark_started
    again = start(server, workflow_id, headers=SAME_KEY)
    assert (again.status, again.body) == (200, {"run_id": run_id, "status": "running"})
    assert len(server.installation.runs.started) == 1


def dies(*_: Any) -> str:
    raise ZeroDivisionError


@pytest.mark.parametrize("key", ["", "two words", "ü", "x" * 256])
def test_a_key_is_a_word(server: Api, workflow_id: str, key: str) -> None:
    reply = start(server, workflow_id, headers={"Idempotency-Key": key})
    assert (reply.status, reply.error["code"]) == (400, "invalid_request")


# -- Step Functions does not start it ------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable("throttled"), PermanentInternal("arn:aws:secret")])
def test_a_run_that_cannot_be_started_is_closed_and_told(
    server: Api, workflow_id: str, error: Any
) -> None:
    server.installation.runs.fails = error
    reply = start(server, workflow_id, headers=SAME_KEY)
    assert (reply.status, reply.error["code"], reply.error["retryable"]) == (
        503,
        "unavailable",
        True,
    )
    assert "arn:aws" not in reply.raw
    view = server.get(f"/runs/{reply.error['details']['run_id']}").body
    assert view["status"] == "failed"
    assert view["error"]["code"] == "not_started"
    events = server.get(f"/runs/{view['run_id']}/events").body["events"]
    assert [event["event"] for event in events] == ["run.started", "run.failed"]
    # Should the execution have started all the same, its first node sees this.
    assert server.installation.store.control(view["run_id"]).cancel


# -- looking up ----------------------------------------------------------------------------


def test_somebody_elses_run_does_not_exist(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id).body["run_id"]
    absent = "run_" + "0" * 26
    for path in ("", "/events", "/texts", "/cost"):
        theirs = server.get(f"/runs/{run_id}{path}", owner="you")
        missing = server.get(f"/runs/{absent}{path}")
        assert theirs.status == missing.status == 404
        assert theirs.error["message"] == missing.error["message"].replace(absent, run_id)
    assert server.post(f"/runs/{run_id}/cancel", owner="you").status == 404
    assert server.get(f"/runs/{run_id}").body["status"] == "running"
    assert server.get("/runs", owner="you").body == {"runs": [], "next_cursor": None}


def test_an_owner_in_the_request_itself_is_not_believed(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id).body["run_id"]
    reply = server.get(f"/runs/{run_id}", owner="you", headers={"owner": "me", "x-owner": "me"})
    assert reply.status == 404
    assert server.get("/runs", owner="you", headers={"x-owner": "me"}).body["runs"] == []


def test_results_can_be_left_out(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id).body["run_id"]
    assert "outputs" in server.get(f"/runs/{run_id}").body
    assert "outputs" not in server.get(f"/runs/{run_id}", results="false").body


def test_a_result_whose_retention_has_ended_does_not_hide_the_run(
    server: Api, workflow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> Any:
        raise NotFound("a stored document is gone")

    run_id = start(server, workflow_id).body["run_id"]
    monkeypatch.setattr(server.installation.store, "outputs", gone)
    reply = server.get(f"/runs/{run_id}")
    assert reply.status == 404
    assert "results=false shows the rest" in reply.error["message"]
    assert server.get(f"/runs/{run_id}", results="false").status == 200


def test_lists_come_in_pages_newest_first(server: Api, workflow_id: str) -> None:
    made = []
    for second in range(5):
        server.installation.now = 1_000_000_000.0 + second
        made.append(start(server, workflow_id).body["run_id"])
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = server.get("/runs", **query).body
        seen += [run["run_id"] for run in page["runs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


# -- cancelling ------------------------------------------------------------------------------


def test_cancelling_closes_the_run_and_stops_its_execution(server: Api, workflow_id: str) -> None:
    run_id = start(server, workflow_id).body["run_id"]
    reply = server.post(f"/runs/{run_id}/cancel")
    assert (reply.status, reply.body) == (200, {"run_id": run_id, "status": "cancelled"})
    assert len(server.installation.runs.stopped) == 1
    assert server.installation.store.control(run_id).cancel
    again = server.post(f"/runs/{run_id}/cancel")
    assert (again.status, again.body["status"]) == (200, "cancelled")
    names = [m["event"] for m in server.installation.listener.messages]
    assert names.count("run.cancelled") == 1


def test_a_run_that_has_ended_cannot_be_cancelled(server: Api, workflow_id: str) -> None:
    server.installation.runs.fails = Unavailable("throttled")
    run_id = start(server, workflow_id).error["details"]["run_id"]
    reply = server.post(f"/runs/{run_id}/cancel")
    assert (reply.status, reply.error["code"]) == (409, "conflict")
    assert reply.error["details"] == {"status": "failed"}


def test_a_cancel_holds_though_the_execution_cannot_be_stopped(
    server: Api, workflow_id: str
) -> None:
    run_id = start(server, workflow_id).body["run_id"]
    server.installation.runs.fails = Unavailable("throttled")
    assert server.post(f"/runs/{run_id}/cancel").status == 200
    assert server.get(f"/runs/{run_id}").body["status"] == "cancelled"

"""`run --detach` and the commands that steer runs: what they ask, print and end with."""

from __future__ import annotations

import json

import pytest

from joinery_cli import exits

from .messages import RUN, Log
from .stack_api import view

OTHER = "run_" + "1" * 26
ABSENT = (404, {"error": {"code": "not_found", "message": f"no run {RUN}"}})
REFUSED = "a run that is completed cannot be cancelled"
ENDED = (409, {"error": {"code": "conflict", "message": REFUSED}})


def asked(api):
    return [(method, path) for method, path, *_ in api.requests]


def accepted(status="running", run_id=RUN):
    return [(202, {"run_id": run_id, "status": status})]


# -- run --detach ----------------------------------------------------------------------


def test_a_detached_run_is_started_and_not_watched(api, joinery, pure):
    result = joinery("run", pure, "-i", "number=12", "--detach")
    assert result.exit_code == 0
    assert result.stdout == f"{RUN}  running\n"
    assert result.stderr == f"watch it with: joinery watch {RUN}\n"
    assert asked(api) == [("POST", "/workflows"), ("POST", "/runs")]
    assert api.connections == 0


def test_a_detached_run_for_a_program(api, joinery, pure):
    api.answers["POST", "/runs"] = accepted("queued")
    result = joinery("run", pure, "-i", "number=12", "--detach", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"run_id": RUN, "status": "queued"}


def test_an_inline_run_cannot_be_detached(api, joinery, pure):
    result = joinery("run", pure, "-i", "number=12", "--detach", "--engine", "inline")
    assert (result.exit_code, result.stdout) == (exits.INVALID, "")
    assert "ends with it" in result.stderr


def test_a_detached_run_needs_the_stack(joinery, pure):
    result = joinery("run", pure, "-i", "number=12", "--detach")
    assert (result.exit_code, result.stdout) == (exits.FAILED, "")
    assert "joinery local up" in result.stderr


def test_what_is_wrong_is_told_before_a_detached_run_starts(api, joinery, pure, broken):
    assert joinery("run", pure, "-i", "number=x", "--detach").exit_code == exits.INVALID
    assert joinery("run", broken, "--detach").exit_code == exits.INVALID
    assert api.requests == []


# -- every command on a run ------------------------------------------------------------

COMMANDS = ("show", "watch", "cancel", "pause", "resume", "fork", "delete")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("run_id", ["", "x", "../runs", "run_01", RUN.upper(), f"{RUN}/x", "日本"])
def test_what_is_no_run_id_is_told_without_asking(api, joinery, command, run_id):
    result = joinery(command, run_id)
    assert (result.exit_code, result.stdout, api.requests) == (exits.INVALID, "", [])
    assert result.stderr == (
        f"error: '{run_id}' is no run id, such as run_01jd5x3k8v…; list yours with: joinery runs\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_not_there_says_where_to_look(api, joinery, command):
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        *(("POST", f"/{c}") for c in COMMANDS),
    ]:
        api.answers[method, f"/runs/{RUN}{path}"] = [ABSENT]
    result = joinery(command, RUN)
    assert (result.exit_code, result.stdout) == (exits.INVALID, "")
    assert result.stderr == f"error: no run {RUN}; list yours with: joinery runs\n"


@pytest.mark.parametrize("command", [*COMMANDS, "runs"])
def test_every_command_says_that_the_stack_is_down(joinery, command):
    result = joinery(command, *([] if command == "runs" else [RUN]))
    assert (result.exit_code, result.stdout) == (exits.FAILED, "")
    assert result.stderr == (
        "error: the local stack is not running: start it with joinery local up\n"
    )


@pytest.mark.parametrize("command", ["cancel", "pause", "resume"])
def test_what_the_status_does_not_allow_is_told_in_a_line(api, joinery, command):
    api.answers["POST", f"/runs/{RUN}/{command}"] = [ENDED]
    result = joinery(command, RUN)
    assert (result.exit_code, result.stdout) == (exits.FAILED, "")
    assert result.stderr == f"error: {REFUSED}\n"


@pytest.mark.parametrize(
    ("arguments", "path", "status", "hint"),
    [
        (("cancel",), "cancel", "cancelled", ""),
        (("pause",), "pause", "paused", f"go on with: joinery resume {RUN}\n"),
        (("resume", "--detach"), "resume", "running", f"watch it with: joinery watch {RUN}\n"),
        (("fork", "--detach"), "fork", "running", f"watch it with: joinery watch {OTHER}\n"),
    ],
)
def test_steering_prints_the_run_and_its_status(api, joinery, arguments, path, status, hint):
    shown = OTHER if path == "fork" else RUN
    api.answers["POST", f"/runs/{RUN}/{path}"] = accepted(status, shown)
    result = joinery(arguments[0], RUN, *arguments[1:])
    assert (result.exit_code, result.stdout) == (0, f"{shown}  {status}\n")
    assert result.stderr == hint
    result = joinery(arguments[0], RUN, *arguments[1:], "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"run_id": shown, "status": status}


def test_resume_watches_to_the_end(api, joinery):
    api.answers["POST", f"/runs/{RUN}/resume"] = accepted()
    result = joinery("resume", RUN)
    assert result.exit_code == 0
    assert "text: Hello world!" in result.stdout


def test_fork_sends_the_place_and_the_inputs(api, joinery):
    api.answers["POST", f"/runs/{RUN}/fork"] = accepted("running", OTHER)
    result = joinery("fork", RUN, "--from", "judge@2", "-i", "who=Ada", "-i", "n:=3", "--detach")
    assert result.exit_code == 0
    [(_, _, body, _)] = api.requests
    assert body == {"node_id": "judge", "path": "2", "inputs": {"who": "Ada", "n": 3}}


def test_delete(api, joinery):
    api.answers["DELETE", f"/runs/{RUN}"] = [(200, {})]
    result = joinery("delete", RUN)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{RUN} is deleted\n"
    result = joinery("delete", RUN, "--cancel", "--json")
    assert json.loads(result.stdout) == {"run_id": RUN, "deleted": True}


# -- runs and show ---------------------------------------------------------------------


def row(run_id, **more):
    return {
        "run_id": run_id,
        "status": "running",
        "workflow": {"workflow_id": "wf_1", "version": 3, "name": "pure"},
        "incarnation": 1,
        "created_at": "2026-01-01T12:00:00.000Z",
        "usage": {},
        **more,
    }


def test_runs_are_listed_at_local_time(api, joinery, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    __import__("time").tzset()
    rows = [row(RUN, incarnation=2), row(OTHER, status="timed_out", forked_from=RUN)]
    api.answers["GET", "/runs"] = [(200, {"runs": rows, "next_cursor": "x"})]
    result = joinery("runs")
    monkeypatch.undo()
    __import__("time").tzset()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{RUN}  2026-01-01 21:00:00  running    pure v3  #2",
        f"{OTHER}  2026-01-01 21:00:00  timed_out  pure v3  fork of {RUN}",
    ]
    assert result.stderr == "there are more: joinery runs --limit 40\n"


def test_no_runs_yet(api, joinery):
    api.answers["GET", "/runs"] = [(200, {"runs": [], "next_cursor": None})]
    result = joinery("runs")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no runs yet: joinery run FILE\n"
    assert json.loads(joinery("runs", "--json").stdout) == []


@pytest.mark.parametrize(
    ("status", "code", "sign", "last"),
    [
        ("running", exits.DETACHED, "●", f"the run goes on; watch it with: joinery watch {RUN}"),
        ("paused", exits.WAITING, "‖", f"the run is paused; go on with: joinery resume {RUN}"),
        ("waiting", exits.WAITING, "◇", f"the run waits; watch it with: joinery watch {RUN}"),
    ],
)
def test_show_tells_how_far_a_run_has_come(api, joinery, status, code, sign, last):
    log = Log()
    api.events = [log.started([("hello", "llm", [])]), log.event("node.started", "hello", "")]
    api.answers["GET", f"/runs/{RUN}"] = [(200, view(status))]
    result = joinery("show", RUN)
    assert result.exit_code == code
    first, node, figures = result.stdout.splitlines()
    assert first == f"{sign} {status}  debate  {RUN}"
    # It has run since the first of January.
    assert node.startswith("  ● hello  ")
    assert node.endswith(" h  running")
    assert " h · $0 for models · 7 transitions · 15 AWS calls" in figures
    assert result.stderr == last + "\n"


def test_nothing_predicted_is_not_shown_as_nothing(api, joinery):
    cost = api.answers["GET", f"/runs/{RUN}/cost"][0][1]
    changed = {**cost, "transitions": 1, "transitions_predicted": 0, "aws_calls": {"x": 1}}
    api.answers["GET", f"/runs/{RUN}/cost"] = [(200, changed)]
    assert " · 1 transition · 1 AWS call · " in joinery("watch", RUN).stdout


def test_a_node_that_ended_with_its_run_was_cut_short(api, joinery):
    log = Log()
    broken = {"code": "x", "message": "it broke", "node_id": "con"}
    api.events = [
        log.started([("pro", "llm", []), ("con", "llm", [])]),
        log.event("node.started", "pro", ""),
        log.event("node.started", "con", ""),
        log.event("node.failed", "con", "", attempt=1, error=broken, on_error="fail"),
        log.event("run.failed", error=broken, usage={}),
    ]
    api.answers["GET", f"/runs/{RUN}"] = [(200, view("failed", error=broken))]
    _, pro, con, *_ = joinery("show", RUN).stdout.splitlines()
    assert (pro.split()[:2], con.split()[:2]) == (["✗", "pro"], ["✗", "con"])
    assert pro.endswith("  cut short")
    assert con.endswith("  failed; it broke")

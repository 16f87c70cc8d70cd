"""`joinery resume --budget-tokens` and `joinery unlock` on the local stack, as people type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kit.api import Api

from joinery_cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

THREE = """\
version: 1
name: three-on-a-budget
defaults: {model: {max_tokens: 100}}
nodes:
  one: {type: llm, prompt: "Well?"}
  two: {type: llm, prompt: "And?"}
  three: {type: llm, prompt: "So?"}
edges: [start -> one -> two -> three -> end]
outputs: {text: "{{ nodes.one.text }} {{ nodes.two.text }} {{ nodes.three.text }}"}
"""

LATE = """\
version: 1
name: late
breaker: {wall_time: 3s}
nodes:
  say: {type: llm, prompt: "Well?"}
edges: [start -> say -> end]
outputs: {text: "{{ nodes.say.text }}"}
"""


class Shell:
    """Types commands, as somebody with a folder of their own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "joinery_cli", *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=100, check=False,
            env={**os.environ, "JOINERY_LOCAL_HOME": str(self.home)},
        )  # fmt: skip

    def run(self, source: str, tape: list[dict[str, Any]], *more: str) -> tuple[str, str]:
        """Runs a workflow that is to be suspended; returns the run's id and what was said."""
        file, words = self.file("flow.yaml", source), self.file("tape.json", json.dumps(tape))
        done = self("run", file, "--engine", "local", "--scripted", words, "--json", *more)
        assert done.returncode == exits.WAITING, done.stderr
        found = json.loads(done.stdout)
        assert found["status"] == "suspended"
        return found["run_id"], done.stderr


@pytest.fixture(scope="module")
def api(stack: LocalStack) -> Iterator[Api]:
    with Api(stack) as made:
        yield made


@pytest.fixture
def shell(stack: LocalStack, tmp_path: Path) -> Shell:
    return Shell(stack.home, tmp_path)


def events(api: Api, run_id: str, *names: str) -> list[dict[str, Any]]:
    answer = api.http.get(f"/runs/{run_id}/events", params={"after_seq": 0})
    return [event for event in answer.json()["events"] if event["event"] in names]


def test_a_run_out_of_budget_goes_on_with_a_larger_one_and_repeats_nothing(
    api: Api, shell: Shell
) -> None:
    tape = [{"node": name, "text": f"It is {name}."} for name in ("one", "two", "three")]
    run_id, said = shell.run(THREE, tape, "--budget-tokens", "120")
    assert f"joinery resume {run_id} --budget-tokens N" in said
    assert api.get(run_id)["error"]["code"] == "budget_exceeded"
    done = [event["node_id"] for event in events(api, run_id, "node.completed")]
    assert done in (["one"], ["one", "two"])

    small = shell("resume", run_id, "--budget-tokens", "1")
    assert small.returncode not in (exits.OK, exits.WAITING)
    assert "no more than what the run has used" in small.stderr
    assert api.get(run_id)["status"] == "suspended"

    more = shell("resume", run_id, "--budget-tokens", "5000")
    assert more.returncode == exits.OK, more.stderr
    assert "It is one. It is two. It is three." in more.stdout
    run = api.get(run_id)
    assert (run["status"], run["incarnation"]) == ("completed", 2)
    assert (run["budget"], run["usage"]["model_calls"]) == ({"tokens": 5000}, 3)
    done = [event["node_id"] for event in events(api, run_id, "node.completed")]
    assert done == ["one", "two", "three"]
    assert len(events(api, run_id, "budget.exceeded")) == 1


def test_a_call_that_takes_too_long_is_cut_and_made_again_when_it_is_unlocked(
    api: Api, shell: Shell
) -> None:
    # Two minutes, if it was let.
    slow = {"node": "say", "call": 1, "text": "word " * 600, "tokens_per_second": 5}
    run_id, said = shell.run(LATE, [slow, {"node": "say", "call": 2, "text": "Briefly: yes."}])
    assert f"joinery unlock {run_id} --because REASON" in said
    unreasoned = shell("unlock", run_id)
    assert unreasoned.returncode not in (exits.OK, exits.WAITING)

    why = "it is worth waiting for"
    for _ in range(4):  # a machine that is slow enough comes to no call at first
        assert api.get(run_id)["error"]["code"] == "breaker_tripped"
        done = shell("unlock", run_id, "--because", why)
        if done.returncode == exits.OK:
            break
        assert done.returncode == exits.WAITING, done.stderr
    assert "Briefly: yes." in done.stdout
    run = api.get(run_id)
    assert (run["status"], run["outputs"]) == ("completed", {"text": "Briefly: yes."})
    # What the first call had said by then is counted.
    assert (run["usage"]["model_calls"], run["usage"]["estimated"]) == (2, True)
    assert run["usage"]["output_tokens"] > len(["Briefly:", "yes."])
    tripped = events(api, run_id, "breaker.tripped")
    assert {event["data"]["reason"] for event in tripped} == {"wall_time"}
    unlocked = events(api, run_id, "breaker.unlocked")
    assert [event["data"]["because"] for event in unlocked] == [why] * len(tripped)
    assert len(events(api, run_id, "run.completed")) == 1

"""Budgets and the breaker on the local stack: real branches, real executions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from kit.people import Person, until

from joinery.llm.types import Message
from joinery.llm.window import estimate_prompt, estimate_tokens

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

TEXT = "All of it is said in just as many words as there is room for."
ONE = estimate_prompt([Message("user", "Say it")]) + estimate_tokens(TEXT)
"""What a call takes before it is made; the scripted model counts words, so it uses less."""

WIDE = f"""\
version: 1
name: wide
budget: {{tokens: {10 * ONE}}}
nodes:
  each: {{type: iterate, items: {list(range(40))}, max_items: 40, concurrency: 40}}
  ask:
    type: llm
    prompt: Say it
    model: {{max_tokens: {estimate_tokens(TEXT)}}}
edges: [start -> each, each.item -> ask, each.done -> end]
outputs: {{texts: "{{{{ nodes.ask.text }}}}"}}
"""

AGAIN = """\
version: 1
name: again
nodes:
  say: {type: llm, prompt: "Well?"}
  more: {type: loop, max_rounds: 6}
edges: [start -> say -> more, more.repeat -> say, more.done -> end]
outputs: {text: "{{ nodes.say.text }}"}
"""


@pytest.fixture(scope="module")
def ada(stack: LocalStack) -> Person:
    return Person(stack, f"ada-{uuid.uuid4().hex[:6]}")


def told(person: Person, run_id: str, name: str) -> list[Any]:
    page = person.call("GET", f"/runs/{run_id}/events?limit=1000").json()
    return [event["data"] for event in page["events"] if event["event"] == name]


def tokens(run: Any) -> int:
    return int(run["usage"]["input_tokens"] + run["usage"]["output_tokens"])


def at_rest(person: Person, run_id: str) -> Any:
    run = person.call("GET", f"/runs/{run_id}").json()
    return None if any(node["status"] == "running" for node in run["nodes"]) else run


def test_forty_branches_on_a_budget_for_ten_stop_after_ten_calls_and_go_on_with_more(
    ada: Person,
) -> None:
    session = f"s-{uuid.uuid4().hex[:8]}"
    run_id = ada.start(WIDE, cassette=[{"node": "ask", "text": TEXT}], session_id=session)
    ada.wait(run_id, "suspended", "failed", "completed")
    run = until(lambda: at_rest(ada, run_id))  # calls under way may end
    assert (run["status"], run["error"]["code"]) == ("suspended", "budget_exceeded")
    asked = [node for node in run["nodes"] if node["node_id"] == "ask"]
    done = sum(node["status"] == "completed" for node in asked)
    assert 10 <= done < 40
    assert {node["status"] for node in asked} <= {"completed", "pending"}
    assert tokens(run) <= 10 * ONE
    (exceeded,) = told(ada, run_id, "budget.exceeded")
    assert exceeded["used"]["tokens"] <= 10 * ONE
    assert len(told(ada, run_id, "budget.warning")) == 1
    assert (run["budget"], run["usage"]["model_calls"]) == ({"tokens": 10 * ONE}, done)

    assert ada.call("POST", f"/runs/{run_id}/resume").status_code == 409
    refused = ada.call("POST", f"/runs/{run_id}/resume", {"budget": {"tokens": 9}})
    assert refused.status_code == 400
    more = ada.call("POST", f"/runs/{run_id}/resume", {"budget": {"tokens": 40 * ONE}})
    assert more.status_code == 200, more.text
    run = ada.wait(run_id, "suspended", "failed", "completed")
    assert (run["status"], run["incarnation"]) == ("completed", 2)
    assert run["outputs"]["texts"] == [TEXT] * 40
    assert run["usage"]["model_calls"] == 40
    assert tokens(run) <= 40 * ONE
    used = ada.call("GET", f"/sessions/{session}/usage").json()
    assert used == {"session_id": session, "usage": run["usage"]}


def test_the_breaker_trips_once_and_a_reason_lets_the_run_go_on(ada: Person) -> None:
    run_id = ada.start(AGAIN, cassette=[{"node": "say", "text": TEXT}])
    run = ada.wait(run_id, "suspended", "failed", "completed")
    assert (run["status"], run["error"]["code"]) == ("suspended", "breaker_tripped")
    (event,) = told(ada, run_id, "breaker.tripped")
    assert (event["reason"], event["path"]) == ("loop", "4")
    assert ada.call("POST", f"/runs/{run_id}/resume").status_code == 409
    assert ada.call("POST", f"/runs/{run_id}/unlock", {}).status_code == 400
    bob = Person(ada.stack, f"bob-{uuid.uuid4().hex[:6]}")
    assert bob.call("POST", f"/runs/{run_id}/unlock", {"because": "x"}).status_code == 404
    with ada.socket() as socket:
        answer = socket.send("unlock", run_id=run_id, because="it may agree")
        assert (answer["event"], answer["data"]["status"]) == ("ack", "running")
    run = ada.wait(run_id, "suspended", "failed", "completed")
    assert (run["status"], run["usage"]["model_calls"]) == ("completed", 6)
    (unlocked,) = told(ada, run_id, "breaker.unlocked")
    assert unlocked["because"] == "it may agree"


# -- an agent whose tool is a workflow -------------------------------------------------------

ASKED = """\
version: 1
name: {name}
nodes:
  first: {{type: llm, prompt: "Well?", model: {{max_tokens: 200}}}}
  second: {{type: llm, prompt: "And?", model: {{max_tokens: 200}}}}
edges: [start -> first -> second -> end]
outputs: {{said: "{{{{ nodes.second.text }}}}"}}
"""

ASKS = """\
version: 1
name: asks-below
budget: {{tokens: 320}}
agents: {{one: {{persona: You ask., tools: [below], max_rounds: 3, model: {{max_tokens: 50}}}}}}
tools: {{below: {{kind: workflow, workflow: {name}, description: Asks.}}}}
nodes: {{a: {{type: agent, agent: one, prompt: Ask.}}}}
edges: [start -> a -> end]
outputs: {{text: "{{{{ nodes.a.text }}}}"}}
"""

LONG = "word " * 150
"""What the first call below says: the second one does not fit beside it."""


TAPE = [
    {"node": "a", "call": 1, "tool_calls": [{"name": "below", "arguments": {}}]},
    {"node": "a", "call": 2, "text": "They say yes."},
    {"node": "first", "text": LONG},
    {"node": "second", "text": "yes"},
]


def below(person: Person, run_id: str) -> Any:
    rows = person.call("GET", "/runs?limit=100").json()["runs"]
    (row,) = [row for row in rows if row.get("parent", {}).get("run_id") == run_id]
    return person.call("GET", f"/runs/{row['run_id']}").json()


def held_below(person: Person) -> str:
    """Starts an agent whose tool's run is out of budget, and with it the agent's."""
    name = f"asked-{uuid.uuid4().hex[:8]}"
    published = person.call("POST", "/workflows", {"source": ASKED.format(name=name)})
    assert published.status_code in (200, 201), published.text
    run_id = person.start(ASKS.format(name=name), cassette=TAPE)
    run = person.wait(run_id, "suspended", "failed", "completed")
    assert (run["status"], run["error"]["code"]) == ("suspended", "budget_exceeded")
    until(lambda: below(person, run_id)["status"] == "suspended")
    until(lambda: at_rest(person, run_id))
    return run_id


def test_a_run_of_a_tool_goes_on_with_the_run_around_it(ada: Person) -> None:
    run_id = held_below(ada)
    assert below(ada, run_id)["error"]["code"] == "suspended_around"
    more = ada.call("POST", f"/runs/{run_id}/resume", {"budget": {"tokens": 5_000}})
    assert more.status_code == 200, more.text
    run = ada.wait(run_id, "suspended", "failed", "completed")
    assert (run["status"], run["outputs"]) == ("completed", {"text": "They say yes."})
    child = below(ada, run_id)
    assert (child["status"], child["incarnation"]) == ("completed", 2)
    # Nothing was asked again: two calls of the agent, two below.
    assert (run["usage"]["model_calls"], child["usage"]["model_calls"]) == (4, 2)


def test_cancelling_a_suspended_run_ends_the_run_of_its_tool(ada: Person) -> None:
    run_id = held_below(ada)
    assert ada.call("POST", f"/runs/{run_id}/cancel").json()["status"] == "cancelled"
    child = below(ada, run_id)
    assert child["status"] == "cancelled"
    for one in (run_id, child["run_id"]):
        assert len(told(ada, one, "run.cancelled")) == 1


AGENT = """\
version: 1
name: {name}-agent
agents: {{one: {{persona: You ask., tools: [below], max_rounds: 3, model: {{max_tokens: 50}}}}}}
tools: {{below: {{kind: workflow, workflow: {name}-middle, description: Asks.}}}}
nodes: {{a: {{type: agent, agent: one, prompt: Ask.}}}}
edges: [start -> a -> end]
outputs: {{text: "{{{{ nodes.a.text }}}}"}}
"""

MIDDLE = """\
version: 1
name: {name}-middle
nodes:
  first: {{type: llm, prompt: "Well?", model: {{max_tokens: 200}}}}
  then: {{type: workflow, workflow: {name}-last}}
edges: [start -> first -> then -> end]
outputs: {{said: "{{{{ nodes.then.text }}}}"}}
"""

LAST = """\
version: 1
name: {name}-last
nodes:
  second: {{type: llm, prompt: "And?", model: {{max_tokens: 200}}}}
edges: [start -> second -> end]
outputs: {{said: "{{{{ nodes.second.text }}}}"}}
"""

ROOT = """\
version: 1
name: {name}-root
budget: {{tokens: 320}}
nodes: {{go: {{type: workflow, workflow: {name}-agent}}}}
edges: [start -> go -> end]
outputs: {{text: "{{{{ nodes.go.text }}}}"}}
"""


def test_a_run_of_a_tool_between_two_child_runs_goes_on_too(ada: Person) -> None:
    name = f"deep-{uuid.uuid4().hex[:8]}"
    for source in (LAST, MIDDLE, AGENT):
        published = ada.call("POST", "/workflows", {"source": source.format(name=name)})
        assert published.status_code in (200, 201), published.text
    root = ada.start(ROOT.format(name=name), cassette=TAPE)
    run = ada.wait(root, "suspended", "failed", "completed")
    assert (run["status"], run["error"]["code"]) == ("suspended", "budget_exceeded")
    # The agent's own run asks nothing meanwhile: it stands still since what is below it does.
    agent = below(ada, root)["run_id"]
    assert ada.wait(agent, "suspended", "failed", "completed")["status"] == "suspended"
    until(lambda: at_rest(ada, agent))
    more = ada.call("POST", f"/runs/{root}/resume", {"budget": {"tokens": 5_000}})
    assert more.status_code == 200, more.text
    run = ada.wait(root, "suspended", "failed", "completed")
    assert (run["status"], run["outputs"]) == ("completed", {"text": "They say yes."})
    assert run["usage"]["model_calls"] == 4  # nothing was asked again
    last = below(ada, below(ada, agent)["run_id"])
    assert (last["status"], last["incarnation"]) == ("completed", 2)
    assert told(ada, agent, "tool.completed")[0]["ok"]

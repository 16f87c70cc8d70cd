"""Publishing and looking up workflows over HTTP."""

from __future__ import annotations

from kit.installation import Api


def test_publishing_answers_with_the_figures_of_the_plan(server: Api, source: str) -> None:
    reply = server.post("/workflows", {"source": source})
    assert reply.status == 201
    assert reply.body["name"] == "greet"
    assert reply.body["version"] == 1
    assert reply.body["workflow_id"].startswith("wf_")
    assert reply.body["machine"] in reply.raw
    assert reply.body["report"]["transitions"]["min"] >= 1
    assert reply.body["problems"] == []
    [definition] = server.installation.makes.made.values()
    assert "run-node:live" in definition


def test_the_same_again_is_the_same_version(server: Api, source: str) -> None:
    first = server.post("/workflows", {"source": source})
    again = server.post("/workflows", {"source": source + "\n# a remark\n"})
    assert (first.status, again.status) == (201, 200)
    assert again.body["version"] == 1


def test_a_change_is_the_next_version(server: Api, source: str) -> None:
    server.post("/workflows", {"source": source})
    changed = server.post("/workflows", {"source": source.replace("Hello", "Good day")})
    assert changed.status == 201
    assert changed.body["version"] == 2


def test_a_workflow_may_be_sent_as_an_object(server: Api) -> None:
    workflow = {
        "version": 1,
        "name": "tiny",
        "nodes": {"a": {"type": "template", "template": "x"}},
        "edges": ["start -> a", "a -> end"],
    }
    assert server.post("/workflows", {"source": workflow, "opt": 0}).status == 201


def test_all_problems_come_at_once(server: Api) -> None:
    broken = """\
version: 1
name: broken
nodes:
  a: {type: template, template: "{{ inputs.nothing }}"}
  b: {type: agent, agent: nobody, prompt: hi}
edges: [start -> a, a -> c]
"""
    reply = server.post("/workflows", {"source": broken})
    assert reply.status == 422
    assert reply.error["code"] == "invalid_workflow"
    rows = reply.error["details"]["errors"]
    assert len(rows) >= 3
    assert all(row["line"] > 0 and row["code"] and row["message"] for row in rows)
    assert not server.installation.makes.made


def test_prompts_in_files_are_refused_since_there_are_no_files(server: Api) -> None:
    source = """\
version: 1
name: files
nodes:
  a: {type: llm, prompt: {file: /etc/passwd}}
edges: [start -> a, a -> end]
"""
    reply = server.post("/workflows", {"source": source})
    assert reply.status == 422
    assert "root:" not in reply.raw


def test_lists_and_details_show_only_what_is_ones_own(server: Api, source: str) -> None:
    mine = server.post("/workflows", {"source": source}).body["workflow_id"]
    theirs = server.post("/workflows", {"source": source}, owner="you").body["workflow_id"]
    assert mine != theirs
    assert [w["workflow_id"] for w in server.get("/workflows").body["workflows"]] == [mine]
    detail = server.get(f"/workflows/{mine}")
    assert detail.body["source"] == source
    assert detail.body["inputs"] == {"who": {"type": "string", "required": True, "default": None}}
    assert server.get(f"/workflows/{theirs}").status == 404
    assert server.get(f"/workflows/{mine}", version=1).body == detail.body
    missing = server.get(f"/workflows/{mine}", version=2)
    assert (missing.status, missing.error["code"]) == (404, "not_found")


def test_an_older_version_can_be_read(server: Api, source: str) -> None:
    server.post("/workflows", {"source": source})
    newer = server.post("/workflows", {"source": source.replace("Hello", "Bye")}).body
    path = f"/workflows/{newer['workflow_id']}"
    assert "Bye" in server.get(path).body["source"]
    assert "Hello" in server.get(path, version=1).body["source"]

"""Random workflows of every shape that compiles, with decisions that the inputs make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from joinery.llm.types import CallContext, ModelRequest
from joinery.model_errors import PermanentModelRejected, TransientModelTimeout
from joinery.workflow.model import Workflow

from .random_children import CODE

End = tuple[str, str]
"""A node and the port through which a part is left."""


LEAVES = {"template", "llm", "code", "tool", "workflow"}

TOOLS = {
    name: {"description": name, "code": CODE, "parameters": {"given": {"type": "string"}}}
    for name in ("fine", "broken")
}


@dataclass
class Builder:
    """Collects nodes and edges; parts are `(entries, exits)`."""

    draw: Any
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[Any] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    contained: int = 0
    quorums: bool = False
    models: bool = False
    wide: bool = True
    calls: bool = False

    around: list[str] = field(default_factory=lambda: [""])
    """The iterate nodes whose bodies are being drawn."""
    body_of: dict[str, str] = field(default_factory=dict)

    def name(self, prefix: str) -> str:
        name = f"{prefix}{len(self.nodes)}"
        self.body_of[name] = self.around[-1]
        return name

    def link(self, exits: list[End], entries: list[str]) -> None:
        for source, port in exits:
            for target in entries:
                edge = {"from": source, "to": target, **({"port": port} if port else {})}
                if any({k: e[k] for k in e if k != "when"} == edge for e in self.edges):
                    continue
                bare = source == "start" or port in ("repeat", "item")
                if not bare and not self.draw(st.integers(0, 9)):
                    edge["when"] = self.draw(st.sampled_from(["{{ run.id = '' }}", "{{ true }}"]))
                self.edges.append(edge)

    def part(self, depth: int) -> tuple[list[str], list[End]]:
        kinds = ["leaf", "leaf", "sequence", "fork", "condition", "loop", "mesh", "iterate"]
        kind = self.draw(st.sampled_from(kinds if depth > 0 else ["leaf"]))
        made: tuple[list[str], list[End]] = getattr(self, kind)(depth)
        return made

    def leaf(self, depth: int) -> tuple[list[str], list[End]]:
        name = self.name("t")
        may_fail = self.contained > 0 or self.quorums
        kinds = ["fine"] * 8 + ["continue", "route"] + ["fail"] * may_fail
        kinds += ["model"] * 4 * self.models + ["code", "tool"] * self.calls
        behaviour = self.draw(
            st.sampled_from(kinds + ["workflow"] * 2 * (self.calls and self.wide))
        )
        if behaviour in ("code", "tool", "workflow"):
            return self.call(name, behaviour)
        if behaviour == "model":
            self.nodes[name] = self.model()
            return [name], [(name, "")]
        if behaviour == "fine":
            self.nodes[name] = {"type": "template", "template": name}
            return [name], [(name, "")]
        template = "{{ inputs.missing }}"
        self.nodes[name] = {"type": "template", "template": template, "on_error": behaviour}
        if behaviour in ("continue", "fail"):
            return [name], [(name, "")]
        return [name], [(name, ""), (name, "error")]

    def call(self, name: str, kind: str) -> tuple[list[str], list[End]]:
        """A node that calls code, a tool or a child workflow, which may fail."""
        policy = self.draw(st.sampled_from(["continue", "route"] + ["fail"] * (self.contained > 0)))
        names = ["leaf", "middle", "broken"] if kind == "workflow" else ["fine", "broken"]
        called = self.draw(st.sampled_from(names))
        node: dict[str, Any] = {"type": kind, "on_error": policy}
        if kind == "code":
            node |= {"code": CODE, "function": called, "inputs": {"given": name}}
        elif kind == "tool":
            node |= {"tool": called, "arguments": {"given": name}}
        else:
            node |= {"workflow": called, "inputs": {"given": name}}
            errors = self.draw(st.sampled_from([None, ["workflow.child_failed"]]))
            node["retry"] = {"attempts": 2, "backoff": "1ms", "errors": errors}
        self.nodes[name] = node
        return [name], [(name, "")] + [(name, "error")] * (policy == "route")

    def model(self) -> dict[str, Any]:
        """A node that calls a model; `answer` does as the prompt says."""
        prompt = self.draw(st.sampled_from(["fine", "fine", "flaky", "broken"]))
        policy = "continue" if prompt == "broken" else "fail"
        retry = {"attempts": 2, "backoff": "1ms"}
        return {"type": "llm", "prompt": prompt, "on_error": policy, "retry": retry}

    def sequence(self, depth: int) -> tuple[list[str], list[End]]:
        entries, exits = self.part(depth - 1)
        for _ in range(self.draw(st.integers(1, 2))):
            more, after = self.part(depth - 1)
            self.link(exits, more)
            exits = after
        return entries, exits

    def fork(self, depth: int) -> tuple[list[str], list[End]]:
        parts = [self.part(depth - 1) for _ in range(self.draw(st.integers(2, 3)))]
        entries = [entry for part, _ in parts for entry in part]
        join, exits = self.leaf(0)
        for _, leave in parts:
            self.link(leave, join)
        self.quorum(join)
        return entries, exits

    def quorum(self, names: list[str]) -> None:
        """Lets joins wait for fewer than all, where such are drawn."""
        for name in names if self.quorums else ():
            edges = sum(edge["to"] == name and edge.get("port") != "repeat" for edge in self.edges)
            if edges > 1 and self.draw(st.integers(0, 2)):
                needed = self.draw(st.integers(1, edges))
                self.nodes[name]["join"] = "any" if needed == 1 else {"at_least": needed}

    def mesh(self, depth: int) -> tuple[list[str], list[End]]:
        """Parts with random edges between them: N shapes, shared parents, bypasses."""
        parts = [self.part(depth - 1) for _ in range(self.draw(st.integers(3, 5)))]
        entries: list[str] = []
        needed: set[int] = set()
        for index, (begin, _) in enumerate(parts):
            parents = [i for i in range(index) if self.draw(st.booleans())]
            needed.update(parents)
            for parent in parents:
                self.link(parts[parent][1], begin)
            if not parents:
                entries.extend(begin)
        join, exits = self.leaf(0)
        for index, (_, leave) in enumerate(parts):
            if index not in needed:
                self.link(leave, join)
        self.quorum(join)
        for begin, _ in parts:
            if len(begin) == 1 and "join" not in self.nodes[begin[0]]:
                self.quorum(begin)
        return entries, exits

    def condition(self, depth: int) -> tuple[list[str], list[End]]:
        name = self.name("c")
        key = f"x{len(self.inputs)}"
        self.inputs[key] = {"type": "boolean", "required": True}
        self.given[key] = self.draw(st.booleans())
        self.nodes[name] = {"type": "condition", "if": "{{ inputs." + key + " }}"}
        exits: list[End] = []
        for port in ("true", "false"):
            if port == "false" and self.draw(st.booleans()):
                exits.append((name, port))
                continue
            entries, leave = self.part(depth - 1)
            self.link([(name, port)], entries)
            exits.extend(leave)
        return [name], exits

    def loop(self, depth: int) -> tuple[list[str], list[End]]:
        head, exits = self.leaf(0)
        first = len(self.nodes) - 1
        if self.draw(st.booleans()):
            entries, after = self.part(depth - 1)
            self.link(exits, entries)
            exits = after
        exits = self.round(head, exits)
        if not self.draw(st.integers(0, 3)):  # a loop around it that begins at the same node
            entries, after = self.part(depth - 1)
            self.link(exits, entries)
            exits = self.round(head, after)
        return head, [*exits, *self.leaving(first)]

    def round(self, head: list[str], exits: list[End]) -> list[End]:
        """Ends the rounds that begin at `head`, sometimes after a way out before the loop node."""
        broken: list[End] = []
        if not self.draw(st.integers(0, 3)):
            name = self.name("c")
            late = "{{ loop.round >= " + str(self.draw(st.integers(1, 3))) + " }}"
            self.nodes[name] = {"type": "condition", "if": late}
            self.link(exits, [name])
            exits, broken = [(name, "false")], [(name, "true")]
        name = self.name("l")
        rounds = self.draw(st.integers(1, 3))
        until = "{{ loop.round >= " + str(rounds) + " }}"
        self.nodes[name] = {"type": "loop", "until": until, "max_rounds": 3}
        self.link(exits, [name])
        self.link([(name, "repeat")], head)
        return [(name, "done"), *broken]

    def leaving(self, first: int) -> list[End]:
        """Edges out of the loop, which ends with the last node, from anywhere in it."""
        if self.draw(st.integers(0, 3)):
            return []
        here = [n for n in list(self.nodes)[first:] if self.body_of[n] == self.around[-1]]
        inside = [n for n in here if self.nodes[n]["type"] in LEAVES]
        return [(self.draw(st.sampled_from(inside)), "")]

    def iterate(self, depth: int) -> tuple[list[str], list[End]]:
        name = self.name("i")
        key = f"x{len(self.inputs)}"
        self.inputs[key] = {"type": "array", "required": True}
        self.given[key] = list(range(self.draw(st.integers(0, 3))))
        # So many at once are executions of their own.
        at_once = self.draw(st.sampled_from([1, 2, 3, 41][: 3 + self.wide]))
        node = self.nodes[name] = {
            "type": "iterate",
            "items": "{{ inputs." + key + " }}",
            "concurrency": at_once,
            "max_items": max(3, at_once),
            "on_item_error": self.draw(st.sampled_from(["fail", "continue"])),
        }
        exits = [(name, "done")]
        if not self.draw(st.integers(0, 4)):
            policies = ["continue", "route"] + ["fail"] * (self.contained > 0)
            node["on_error"] = self.draw(st.sampled_from(policies))
            exits += [(name, "error")] * (node["on_error"] == "route")
            node["items"] = self.draw(st.sampled_from([node["items"], "{{ run.id }}"]))
        self.contained += node["on_item_error"] == "continue"
        self.around.append(name)
        entries, _ = self.part(depth - 1)
        self.around.pop()
        self.contained -= node["on_item_error"] == "continue"
        self.link([(name, "item")], entries)
        return [name], exits


def answer(request: ModelRequest, call: CallContext) -> str:
    """What the models of random workflows say: a flaky one fails at first, a broken one always."""
    prompt = request.messages[-1].content
    if prompt == "broken":
        raise PermanentModelRejected("broken")
    if prompt == "flaky" and call.call == 1:
        raise TransientModelTimeout("not at once")
    return prompt


@st.composite
def workflows(
    draw: Any,
    depth: int = 3,
    *,
    quorums: bool = False,
    models: bool = False,
    wide: bool = True,
    calls: bool = False,
) -> tuple[Workflow, dict[str, Any]]:
    """Draws a workflow and inputs for it.

    With `quorums`, joins that do not wait for all; nodes with `models` need some that say
    `answer`; without `wide`, nothing that one invocation could not run. With `calls`, nodes
    that call code, tools and the workflows of `random_children`.
    """
    inputs = {"missing": {"type": "string"}}
    builder = Builder(draw, inputs=inputs, quorums=quorums, models=models, wide=wide, calls=calls)
    entries, exits = builder.part(depth)
    builder.link([("start", "")], entries)
    builder.link(exits, ["end"])
    workflow = Workflow.model_validate(
        {
            "version": 1,
            "name": "random",
            "nodes": builder.nodes,
            "edges": builder.edges,
            "tools": TOOLS if calls else {},
            "inputs": builder.inputs,
            "outputs": {name: "{{ nodes." + name + " ?? null }}" for name in builder.nodes},
        }
    )
    return workflow, builder.given

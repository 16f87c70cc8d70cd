"""Transitions of reference graphs, beside one state a step wrapped in Pass and Choice.

The wrapped machine is the direct translation: results travel in the state's input, so
every step is put between states that form and guard it. A transition is a state entered;
of a run's ways the longest counts, and what is inside a loop counts in every round:

- a node of any type is 3: a Choice that asks if it runs, its Task, a Pass for its result;
- a node that decides a port (condition, switch, loop) is 1 more: the Choice behind it;
- a fork is 2: its Parallel, and a Pass that puts the branches' results together.

So the last graph of the table has 15 node visits (a, b, c, d, e, the switch, f, h, three of i
and of the loop, j), 4 decisions and a fork: 15 * 3 + 4 + 2 = 51. The wrapped machine needs no
`end` node and gets it for nothing; Joinery's figures include it. They come from the report
of the compiler (`joinery plan`). Inline is one Task for the whole plan, whatever its shape.
"""

from __future__ import annotations

from pathlib import Path

from joinery.compiler.compile import compile_workflow
from joinery.compiler.cost import measure
from joinery.compiler.opt import OPT_LEVELS
from joinery.compiler.states import StateInfo
from joinery.errors import InvalidWorkflow
from joinery.workflow.graph import END
from joinery.workflow.model import Workflow
from joinery.workflow.validation import load_with_files

ROOT = Path(__file__).parent.parent

WRAPPED = {"task": 3.0, "choice": 1.0, "map": 2.0, "parallel": 2.0, "pass": 0.0, "succeed": 0.0}
"""What stands in the wrapped machine for a state of ours at level 0, by its kind."""

GRAPHS: dict[str, list[str]] = {
    "chain of 5": ["start -> a -> b -> c -> d -> e -> end"],
    "chain of 5, 2 of them templates": ["start -> a -> t1 -> b -> t2 -> c -> end"],
    "fork of 3": ["start -> a -> b, c, d -> e -> end"],
    "uneven fork: 1, 2 and 3 nodes": [
        "start -> a -> b, c, d",
        "c -> c2",
        "d -> d2 -> d3",
        "b, c2, d3 -> e -> end",
    ],
    "fork in a fork": ["start -> a -> b, c", "b -> d, e -> f", "c, f -> g -> end"],
    "switch of 2": [
        "start -> a -> switch",
        "switch.x -> f",
        "switch.default -> g",
        "f, g -> h -> end",
    ],
    "loop of 3 rounds": ["start -> a -> loop3", "loop3.repeat -> a", "loop3.done -> b -> end"],
    "loop of 2 around a loop of 3": [
        "start -> a -> b -> loop3",
        "loop3.repeat -> b",
        "loop3.done -> c -> loop2",
        "loop2.repeat -> a",
        "loop2.done -> d -> end",
    ],
    "a fork in a loop of 3": [
        "start -> b, c -> d -> loop3",
        "loop3.repeat -> b, c",
        "loop3.done -> e -> end",
    ],
    "N shape: d waits for b, e for b and c": [
        "start -> a -> b, c",
        "b -> d, e",
        "c -> e",
        "d, e -> f -> end",
    ],
    "debate (examples/debate.yaml)": [],
    "a fork(b c d) e switch(f|g) h 3*loop(i) j": [
        "start -> a -> b, c, d -> e -> switch",
        "switch.x -> f",
        "switch.default -> g",
        "f, g -> h -> i -> loop3",
        "loop3.repeat -> i",
        "loop3.done -> j -> end",
    ],
}


def main() -> None:
    """Prints a row for each graph."""
    levels = "".join(f"{f'level {level}':>9}" for level in OPT_LEVELS)
    print(f"{'longest run, in transitions':42}{levels}{'inline':>9}{'wrapped':>9}{'ratio':>7}")
    for title, edges in GRAPHS.items():
        workflow = _workflow(edges)
        ours, wrapped = count(workflow)
        row = "".join(f"{figure:9.0f}" for figure in ours)
        best = wrapped / ours[-1]
        print(f"{title:42}{row}{_inline(workflow):>9}{wrapped:9.0f}{best:7.1f}")
    print("ratio: wrapped by level 2")


def _inline(workflow: Workflow) -> str:
    """Returns the transitions of a workflow that runs inline; a dash where it cannot."""
    try:
        compiled = compile_workflow(workflow.model_copy(update={"run_on": "inline"}))
    except InvalidWorkflow:
        return "-"
    return f"{compiled.report.transitions.max:.0f}"


def count(workflow: Workflow) -> tuple[list[float], float]:
    """Returns the transitions of the longest run: at each level, and wrapped."""
    compiled = [compile_workflow(workflow, opt=level) for level in OPT_LEVELS]
    plain = compiled[0]
    return (
        [one.report.transitions.max for one in compiled],
        measure(plain.plan, plain.emitted, _wrapped).max,
    )


def _wrapped(_name: str, info: StateInfo) -> float:
    return 0.0 if info.nodes == (END,) else WRAPPED[info.kind]


def _workflow(edges: list[str]) -> Workflow:
    if not edges:
        return load_with_files(ROOT / "examples" / "debate.yaml")
    ends = {end.strip() for edge in edges for side in edge.split("->") for end in side.split(",")}
    names = sorted({end.split(".")[0] for end in ends} - {"start", "end"})
    return Workflow.model_validate(
        {"version": 1, "name": "bench", "nodes": {n: _node(n) for n in names}, "edges": edges}
    )


def _node(name: str) -> dict[str, object]:
    """What a node is follows from its name: a letter is a model call."""
    if name.startswith("loop"):
        return {"type": "loop", "max_rounds": int(name.removeprefix("loop"))}
    if name == "switch":
        return {"type": "switch", "value": "x", "cases": {"x": "x"}}
    if name.startswith("t"):
        return {"type": "template", "template": name}
    return {"type": "llm", "prompt": name}

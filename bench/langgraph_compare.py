"""Time per node beside LangGraph: the same graphs with nodes that only put out a text.

A node's time is that of the fastest run from its inputs to its end, divided by the nodes
that run (a loop's own node counts in every round; Joinery's `end` and LangGraph's START
and END do not). Joinery's interpreter always records a run (results, events, claims), here
in `MemoryStore`, so LangGraph's `InMemorySaver` is what does nearest the same; without a
checkpointer it records nothing. This release has no store on disk for runs in one process.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.engine import Nobody, NoModels
from joinery.compiler.compile import compile_workflow
from joinery.runs.deps import Deps
from joinery.runs.interpreter import run_inline
from joinery.runs.memory_store import MemoryStore
from joinery.runs.start import create_run
from joinery.workflow.model import Workflow

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".tools" / "bench" / "bin" / "python"
REPEATS = 20

GRAPHS = (
    ("chain of 10", "chain", 10),
    ("chain of 50", "chain", 50),
    ("fan of 10", "fan", 10),
    ("loop of 10 rounds", "loop", 10),
)


def main() -> None:
    """Prints a row for each graph and way of recording."""
    if not PYTHON.exists():
        print("LangGraph is not installed in .tools/bench: `make bench` does it")
        return
    theirs = _theirs()
    versions = ", ".join(f"{name} {number}" for name, number in theirs["versions"].items())
    print(f"{versions}, Python {platform.python_version()}; ms a node, fastest of {REPEATS} runs")
    print(f"{'':20}{'recorded':28}{'Joinery':>9}{'LangGraph':>11}  LangGraph : Joinery")
    for title, kind, size in GRAPHS:
        visits = 2 * size if kind == "loop" else size
        ours = fastest(kind, size) / visits * 1000
        seconds = theirs["seconds"][title]
        none, memory, sqlite = (
            seconds[name] / visits * 1000 for name in ("none", "memory", "sqlite")
        )
        print(
            f"{title:20}{'ours in memory, theirs not':28}{ours:9.3f}{none:11.3f}{none / ours:11.2f}"
        )
        print(f"{'':20}{'both in memory':28}{ours:9.3f}{memory:11.3f}{memory / ours:11.2f}")
        print(f"{'':20}{'SQLite':28}{'–':>9}{sqlite:11.3f}      ours: not in this release")


def fastest(kind: str, size: int) -> float:
    """Returns the seconds of Joinery's fastest run."""
    plan = compile_workflow(workflow(kind, size)).plan
    times = []
    for _ in range(REPEATS):
        deps = Deps(MemoryStore(), Nobody(), NoModels(), background=False)
        began = time.perf_counter()
        run, _ = create_run(deps, plan, owner="me", workflow_id="wf", version=1, given={})
        run_inline(deps, plan, run)
        times.append(time.perf_counter() - began)
        ended = deps.store.get_run(run.run_id)
        if ended.status != "completed":
            raise SystemExit(f"the {kind} of {size} ended as {ended.status}")
    return min(times)


def workflow(kind: str, size: int) -> Workflow:
    """Returns a chain, a fan or a loop of `size` rounds around one node."""
    names = ["work"] if kind == "loop" else [f"n{i}" for i in range(size)]
    nodes: dict[str, dict[str, Any]] = {
        name: {"type": "template", "template": name} for name in names
    }
    if kind == "loop":
        nodes["again"] = {"type": "loop", "max_rounds": size}
        edges = ["start -> work -> again", "again.repeat -> work", "again.done -> end"]
    elif kind == "chain":
        edges = [" -> ".join(["start", *names, "end"])]
    else:
        edges = [f"start -> {', '.join(names)} -> end"]
    return Workflow.model_validate({"version": 1, "name": kind, "nodes": nodes, "edges": edges})


def _theirs() -> dict[str, Any]:
    # Tracing that somebody has switched on for their own work would be measured too.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_"))
    }
    done = subprocess.run(
        [str(PYTHON), "-I", str(ROOT / "bench" / "langgraph_side.py"),
         json.dumps({"graphs": GRAPHS, "repeats": REPEATS})],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer

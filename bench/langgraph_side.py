"""LangGraph's part of `langgraph_compare`: runs in .tools/bench, where Joinery is not installed.

Takes one argument, JSON: `{"graphs": [[title, kind, size], …], "repeats": n}`. Prints JSON:
the versions, and by title the seconds of the fastest run without a checkpointer (`none`),
with the one in memory (`memory`) and with SQLite in a file (`sqlite`).
"""

from __future__ import annotations

import json
import operator
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """What the nodes write: their texts in order, and the round of the loop."""

    texts: Annotated[list[str], operator.add]
    round: int


def text(name: str) -> Callable[[State], dict[str, Any]]:
    """Returns a node that does nothing but put out a text."""
    return lambda _state: {"texts": [name]}


def build(kind: str, size: int) -> StateGraph[Any, Any, Any, Any]:
    """Returns a chain, a fan or a loop of `size` rounds around one node."""
    graph = StateGraph(State)
    if kind == "loop":
        graph.add_node("work", text("work"))
        graph.add_node("again", lambda state: {"round": state["round"] + 1})
        graph.add_edge(START, "work")
        graph.add_edge("work", "again")
        graph.add_conditional_edges(
            "again", lambda state: "work" if state["round"] < size else END, ["work", END]
        )
        return graph
    names = [f"n{i}" for i in range(size)]
    for name in names:
        graph.add_node(name, text(name))
    if kind == "chain":
        for source, target in zip([START, *names], [*names, END], strict=True):
            graph.add_edge(source, target)
    else:
        for name in names:
            graph.add_edge(START, name)
            graph.add_edge(name, END)
    return graph


def fastest(graph: StateGraph[Any, Any, Any, Any], saver: Any, size: int, repeats: int) -> float:
    """Returns the seconds of the fastest of some runs, each a thread of its own."""
    compiled = graph.compile(checkpointer=saver)
    times = []
    for repeat in range(repeats):
        config = {"configurable": {"thread_id": str(repeat)}, "recursion_limit": 4 * size + 10}
        began = time.perf_counter()
        compiled.invoke({"texts": [], "round": 0}, config)
        times.append(time.perf_counter() - began)
    return min(times)


def main(asked: dict[str, Any]) -> None:
    """Measures every graph in each way and prints the JSON."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (title, kind, size) in enumerate(asked["graphs"]):
            graph = build(kind, size)
            with SqliteSaver.from_conn_string(str(Path(folder) / f"{number}.sqlite")) as sqlite:
                savers = {"none": None, "memory": InMemorySaver(), "sqlite": sqlite}
                found[title] = {
                    name: fastest(graph, saver, size, asked["repeats"])
                    for name, saver in savers.items()
                }
    packages = ("langgraph", "langgraph-checkpoint-sqlite")
    print(json.dumps({"versions": {name: version(name) for name in packages}, "seconds": found}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

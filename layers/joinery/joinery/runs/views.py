"""How runs look from outside: the same for the inline engine, the HTTP API and the CLI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from joinery.events.make import timestamp
from joinery.runs.model import NodeRecord, RunRecord
from joinery.runs.ports import RunStore
from joinery.runs.start import parent_shown
from joinery.runs.terms import shown_limit
from joinery.runs.usage import total_usage


def run_summary(run: RunRecord, status: str = "") -> dict[str, Any]:
    """Returns a run as lists of runs show it: what its own record says, without its nodes.

    Args:
        run: The run.
        status: Its status where that is known better; see `shown_status`.
    """
    view: dict[str, Any] = {
        "run_id": run.run_id,
        "status": status or run.status,
        "workflow": {
            "workflow_id": run.workflow_id,
            "version": run.version,
            "name": run.name,
        },
        "incarnation": run.incarnation,
        "created_at": timestamp(run.created_at),
        "usage": dict(run.usage),
    }
    if run.forked_from:
        view["forked_from"] = run.forked_from
    if run.session_id:
        view["session_id"] = run.session_id
    if run.started_at:
        view["started_at"] = timestamp(run.started_at)
    if run.ended_at:
        view["ended_at"] = timestamp(run.ended_at)
    if run.error:
        view["error"] = dict(run.error)
    if run.parent:
        view["parent"] = parent_shown(run.parent)
    return view


def run_view(store: RunStore, run: RunRecord, *, results: bool = True) -> dict[str, Any]:
    """Returns a run as `GET /runs/{run_id}` answers it.

    Args:
        store: Where the run is.
        run: The run.
        results: Whether to include outputs and the nodes' results.
    """
    records = store.nodes(run.run_id)
    status = shown_status(store, run, records)
    view = {**run_summary(run, status), "head": store.control(run.run_id).head}
    if results:
        view["outputs"] = store.outputs(run.run_id)
    if not run.closed:
        view["usage"] = total_usage(records)
    view |= terms_view(store, run)
    view["nodes"] = [node_view(store, run, record, results) for record in records]
    return view


def terms_view(store: RunStore, run: RunRecord) -> dict[str, Any]:
    """Returns `{estimate?, budget?}`: what a run was expected to use, and what it may."""
    extra = store.extra(run.run_id)
    view: dict[str, Any] = {}
    if extra.get("estimate"):
        view["estimate"] = dict(extra["estimate"])
    budget = dict(extra.get("budget") or {})
    if budget:
        ledger = store.ledgers.get(run.run_id, run.incarnation)
        view["budget"] = shown_limit(ledger.limit) if ledger else budget
    return view


def node_view(store: RunStore, run: RunRecord, record: NodeRecord, results: bool) -> dict[str, Any]:
    """Returns one node of a run at one path."""
    view: dict[str, Any] = {
        "node_id": record.node_id,
        "path": record.key.path,
        "status": seen_status(run, record),
        "attempts": record.attempt,
    }
    for name, value in (
        ("port", record.port),
        ("reason", record.reason),
        ("usage", dict(record.usage)),
        ("error", record.error),
        ("streams", dict(record.streams)),
        ("child_run_id", record.child),
    ):
        if value:
            view[name] = value
    if record.started_at:
        view["started_at"] = timestamp(record.started_at)
    if record.ended_at:
        view["ended_at"] = timestamp(record.ended_at)
    if record.wait and view["status"] in ("waiting", "completed"):
        view["wait"] = wait_view(record.wait)
    if results and record.terminal:
        view["result"] = dict(store.result(run.run_id, record))
    return view


def wait_view(wait: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a node waits for, or waited for, as everybody is shown it."""
    shown = {name: wait[name] for name in ("kind", "prompt", "options", "schema") if wait.get(name)}
    shown["expires_at"] = timestamp(wait["expires_at"])
    if answer := wait.get("answer"):
        shown["answer"] = {"at": timestamp(answer["at"]), "by": answer["by"]}
    return shown


def shown_status(
    store: RunStore, run: RunRecord, records: Iterable[NodeRecord] | None = None
) -> str:
    """Returns a run's status; it is `waiting` when a person is asked and no node is at work.

    A node that waits for a child run counts as one at work. Only of a run that has asked
    somebody something are the nodes read.

    Args:
        store: Where the run is.
        run: The run.
        records: Its node records, where they are known.
    """
    if run.status != "running" or not run.asked:
        return run.status
    asks = False
    for record in store.nodes(run.run_id) if records is None else records:
        if record.status == "running" or (record.status == "waiting" and record.wait is None):
            return run.status
        asks = asks or record.status == "waiting"
    return "waiting" if asks else run.status


def seen_status(run: RunRecord, record: NodeRecord) -> str:
    """Returns a node's status; one that was running when its run closed was cut short."""
    if run.closed and not record.terminal:
        return "cancelled" if run.status == "cancelled" else "failed"
    return record.status


def node_summary(nodes: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns `{node_id: {status, attempts, rounds}}` from node views.

    Of a node that ran in several rounds, the status is the last round's and the
    attempts are those of all rounds together.
    """
    summary: dict[str, dict[str, Any]] = {}
    for node in nodes:
        seen = summary.setdefault(node["node_id"], {"status": "", "attempts": 0, "rounds": 0})
        seen["status"] = node["status"]
        seen["attempts"] += node["attempts"]
        seen["rounds"] += 1
    return summary

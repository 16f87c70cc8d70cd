"""Runs and node records as items, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from joinery.aws.documents import Documents, ref_of
from joinery.aws.items import (
    CTRL,
    META,
    Attribute,
    Item,
    boolean,
    document,
    get_bool,
    get_float,
    get_int,
    get_json,
    get_string,
    key,
    node_key,
    node_sk,
    number,
    present,
    run_pk,
    string,
)
from joinery.events.make import timestamp
from joinery.runs.model import Control, NodeRecord, Parent, RunRecord

RUN_FIELDS: Final = (
    "pk", "owner", "workflow_id", "version", "name", "status", "session_id", "incarnation",
    "execution_arn", "created_at", "started_at", "ended_at", "error", "usage", "request_hash",
    "parent", "forked_from", "resumed_at", "asked",
)  # fmt: skip
"""Attributes of META that make a `RunRecord`."""


def owner_pk(owner: str) -> str:
    """Returns the partition of an owner's runs in the index."""
    return f"OWNER#{owner}"


def owner_sk(run: RunRecord) -> str:
    """Returns a run's place among its owner's: by time."""
    return f"{timestamp(run.created_at)}#{run.run_id}"


def run_item(run: RunRecord, pinned: Mapping[str, Attribute]) -> Item:
    """Returns META of a new run; `pinned` are its inputs and what else it is pinned to."""
    return {
        **key(run_pk(run.run_id), META),
        **present(
            {
                "owner": string(run.owner),
                "workflow_id": string(run.workflow_id),
                "version": number(run.version),
                "name": string(run.name),
                "status": string(run.status),
                "session_id": string(run.session_id) if run.session_id else None,
                "incarnation": number(run.incarnation),
                "execution_arn": string(run.execution_arn) if run.execution_arn else None,
                "created_at": number(run.created_at),
                "started_at": number(run.started_at) if run.started_at else None,
                "ended_at": number(run.ended_at) if run.ended_at else None,
                "error": document(run.error) if run.error is not None else None,
                "usage": document(run.usage) if run.usage else None,
                "request_hash": string(run.request_hash),
                "parent": document(asdict(run.parent)) if run.parent else None,
                "forked_from": string(run.forked_from) if run.forked_from else None,
                "asked": boolean(True) if run.asked else None,
                "owner_pk": string(owner_pk(run.owner)),
                "owner_sk": string(owner_sk(run)),
            }
        ),
        **pinned,
    }


def run_record(item: Mapping[str, Any]) -> RunRecord:
    """Returns the run that META holds."""
    return RunRecord(
        run_id=get_string(item, "pk").removeprefix("RUN#"),
        owner=get_string(item, "owner"),
        workflow_id=get_string(item, "workflow_id"),
        version=get_int(item, "version"),
        name=get_string(item, "name"),
        status=get_string(item, "status"),
        session_id=get_string(item, "session_id") or None,
        incarnation=get_int(item, "incarnation"),
        execution_arn=get_string(item, "execution_arn"),
        created_at=get_float(item, "created_at"),
        started_at=get_float(item, "started_at"),
        ended_at=get_float(item, "ended_at"),
        error=get_json(item, "error"),
        usage=get_json(item, "usage") or {},
        request_hash=get_string(item, "request_hash"),
        parent=Parent(**parent) if (parent := get_json(item, "parent")) else None,
        forked_from=get_string(item, "forked_from"),
        resumed_at=get_float(item, "resumed_at"),
        asked=get_bool(item, "asked"),
    )


def control_item(run_id: str, head: int) -> Item:
    """Returns the control item of a new run."""
    return {
        **key(run_pk(run_id), CTRL),
        "seq": number(head),
        "cancel": boolean(False),
        "subs": number(0),
    }


def control_of(item: Mapping[str, Any]) -> Control:
    """Returns the control item's content."""
    return Control(
        head=get_int(item, "seq"),
        cancel=get_bool(item, "cancel"),
        subs=get_int(item, "subs"),
        pause=get_bool(item, "pause"),
        inputs=get_int(item, "inputs"),
        ended=get_string(item, "ended"),
    )


def node_item(run_id: str, record: NodeRecord, documents: Documents) -> Item:
    """Returns a node record as an item; a large result is in the bucket afterwards."""
    result: dict[str, Attribute] = {}
    if record.result is not None:
        result = documents.attributes("result", record.result, f"runs/{run_id}")
    elif record.result_ref:
        result = {"result_ref": {"M": {"ref": string(record.result_ref)}}}
    return {
        **key(run_pk(run_id), node_sk(record.key)),
        **present(
            {
                "node_id": string(record.node_id),
                "status": string(record.status),
                "attempt": number(record.attempt),
                "claim_until": number(record.claim_until),
                "holder": string(record.holder) if record.holder else None,
                "started_at": number(record.started_at) if record.started_at else None,
                "ended_at": number(record.ended_at) if record.ended_at else None,
                "port": string(record.port) if record.port else None,
                "next_path": string(record.next_path) if record.next_path else None,
                "usage": document(record.usage) if record.usage else None,
                "streams": document(record.streams) if record.streams else None,
                "error": document(record.error) if record.error is not None else None,
                "reason": string(record.reason) if record.reason else None,
                "items": number(record.items) if record.items is not None else None,
                "contained": boolean(True) if record.contained else None,
                "handled": boolean(True) if record.handled else None,
                "refused": document(list(record.refused)) if record.refused else None,
                "seq": number(record.seq) if record.seq else None,
                "child": string(record.child) if record.child else None,
                "children": number(record.children) if record.children else None,
                "base": number(record.base) if record.base else None,
                "wait": document(record.wait) if record.wait is not None else None,
                "metered": number(record.metered) if record.metered else None,
            }
        ),
        **result,
    }


def node_record(item: Mapping[str, Any]) -> NodeRecord:
    """Returns the node record that an item holds; a result in the bucket is not fetched."""
    return NodeRecord(
        key=node_key(get_string(item, "sk")),
        node_id=get_string(item, "node_id"),
        status=get_string(item, "status"),
        attempt=get_int(item, "attempt"),
        claim_until=get_float(item, "claim_until"),
        holder=get_string(item, "holder"),
        started_at=get_float(item, "started_at"),
        ended_at=get_float(item, "ended_at"),
        port=get_string(item, "port"),
        next_path=get_string(item, "next_path"),
        result=get_json(item, "result"),
        result_ref=ref_of(item, "result"),
        usage=get_json(item, "usage") or {},
        streams=get_json(item, "streams") or {},
        error=get_json(item, "error"),
        reason=get_string(item, "reason"),
        items=get_int(item, "items") if "items" in item else None,
        contained=get_bool(item, "contained"),
        handled=get_bool(item, "handled"),
        refused=tuple(get_json(item, "refused") or ()),
        seq=get_int(item, "seq"),
        child=get_string(item, "child"),
        children=get_int(item, "children"),
        base=get_int(item, "base"),
        wait=get_json(item, "wait"),
        metered=get_int(item, "metered"),
    )

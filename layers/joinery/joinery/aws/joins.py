"""What is known of a join's edges, as an item; every change of it is conditional."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from joinery.aws.conditions import absent
from joinery.aws.items import (
    Item,
    document,
    get_int,
    get_json,
    get_string,
    join_sk,
    key,
    node_key,
    number,
    present,
    run_pk,
    string,
)
from joinery.runs.joins import JoinState


def join_item(run_id: str, join: JoinState) -> Item:
    """Returns the state of a join as an item."""
    return {
        **key(run_pk(run_id), join_sk(join.key)),
        **present(
            {
                "taken": document(list(join.taken)),
                "dead": document(list(join.dead)),
                "failed": document([list(node) for node in join.failed]) if join.failed else None,
                "outcome": string(join.outcome) if join.outcome else None,
                "winners": document(list(join.winners)) if join.winners else None,
                "version": number(join.version),
            }
        ),
    }


def join_state(item: Mapping[str, Any]) -> JoinState:
    """Returns the state that an item holds."""
    return JoinState(
        key=node_key(get_string(item, "sk")),
        taken=tuple(get_json(item, "taken") or ()),
        dead=tuple(get_json(item, "dead") or ()),
        failed=tuple((node_id, path) for node_id, path in get_json(item, "failed") or ()),
        outcome=get_string(item, "outcome"),
        winners=tuple(get_json(item, "winners") or ()),
        version=get_int(item, "version"),
    )


def join_put(run_id: str, join: JoinState) -> dict[str, Any]:
    """Returns the action of a transaction that stores a join which is as it was read.

    Args:
        run_id: The run.
        join: The state with its changes, under the version that was read.
    """
    condition = absent()
    if join.version:
        condition = {
            "ConditionExpression": "version = :version",
            "ExpressionAttributeValues": {":version": number(join.version)},
        }
    stored = replace(join, version=join.version + 1)
    return {"Put": {"Item": join_item(run_id, stored), **condition}}

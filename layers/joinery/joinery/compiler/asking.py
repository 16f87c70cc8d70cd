"""What the plan says of nodes that ask a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joinery.llm.aliases import DEFAULT_STAGE, resolve_layers

if TYPE_CHECKING:
    from joinery.workflow import model as m


def model_spec(
    node: Any, workflow: m.Workflow, system: str, agent_model: m.Model | None
) -> dict[str, Any]:
    """Returns what such a node's spec holds.

    Args:
        node: The node.
        workflow: Its workflow.
        system: The system message.
        agent_model: The model of its agent, if it has one.
    """
    layers = [
        ref if isinstance(ref, str) else ref.model_dump(exclude_none=True)
        for ref in (workflow.defaults.model, agent_model, node.model)
        if ref is not None
    ]
    aliases = aliases_of(workflow)
    used = any(isinstance(layer, str) or {"use", "fallback"} & layer.keys() for layer in layers)
    return {
        "system": system,
        "prompt": node.prompt,
        "model": resolve_layers(layers, aliases, DEFAULT_STAGE),
        **({"model_layers": layers} if used and aliases else {}),
        "schema": None if node.output is None else output_schema(node.output),
        "fit": node.fit or workflow.defaults.fit,
        **({"images": node.images} if node.images else {}),
        **({"files": node.files} if node.files else {}),
        **({"checks": _checks(node.check)} if node.check is not None else {}),
    }


def _checks(said: Any) -> list[dict[str, str]]:
    """Returns checks in their one form: `{that, say?}` each."""
    return [
        {"that": one} if isinstance(one, str) else one.model_dump(exclude_defaults=True)
        for one in (said if isinstance(said, list) else [said])
    ]


def aliases_of(workflow: m.Workflow) -> dict[str, Any]:
    """Returns the workflow's models by their names there."""
    return {name: alias.model_dump(exclude_none=True) for name, alias in workflow.models.items()}


def output_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the JSON Schema of a node's `output`: an object with all properties required."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }

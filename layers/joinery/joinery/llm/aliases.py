"""What a model's alias stands for in a stage.

A version stores the aliases as the file has them, so one version serves every stage;
`joinery.compiler.plan.Plan.for_stage` looks them up when a run begins. Standard library
only: every node invocation imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

DEFAULT_STAGE: Final = "default"
"""The entry of `stages` for stages that have none of their own."""

SAMPLING: Final[tuple[str, ...]] = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "reasoning", "schema_by"
)  # fmt: skip
"""What a fallback takes over from the model that it stands in for."""

_WHO: Final = ("provider", "name", "price", "fallback", "missing")

Aliases = Mapping[str, Mapping[str, Any]]


def merge(far: Mapping[str, Any], near: Mapping[str, Any]) -> dict[str, Any]:
    """Returns two refs as one: the nearer wins, key by key.

    A model's name means nothing at another provider, a price nothing for another model, and
    an alias brings a model of its own.
    """
    merged = dict(far)
    before = merged.get("provider"), merged.get("name")
    if near.get("alias"):
        for key in _WHO:
            merged.pop(key, None)
    elif "provider" in near and near["provider"] != merged.get("provider"):
        merged.pop("name", None)
    if "provider" in near or "name" in near:
        merged.pop("missing", None)
    merged.update(near)
    if (merged.get("provider"), merged.get("name")) != before and "price" not in near:
        merged.pop("price", None)
    merged.pop("alias", None)
    return merged


def resolve_layers(layers: Sequence[Any], aliases: Aliases, stage: str) -> dict[str, Any]:
    """Returns the ref that a node's models stand for.

    Args:
        layers: Refs or aliases, from the defaults to the node's own.
        aliases: What aliases stand for, by name.
        stage: The stage of this installation.

    Returns:
        `{provider?, name?, temperature?, …, fallback?: [ref, …]}` without aliases. What
        cannot be resolved has `missing`, the reason, in place of a name.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, _expand(layer, aliases, stage, ()))
    fallbacks = merged.pop("fallback", ())
    chain = _Chain(merged, aliases, stage)
    for fallback in fallbacks:
        chain.add(fallback, ())
    if chain.refs:
        merged["fallback"] = chain.refs
    return merged


class _Chain:
    """The models that are tried one after another when the first does not answer."""

    def __init__(self, first: Mapping[str, Any], aliases: Aliases, stage: str) -> None:
        self.refs: list[dict[str, Any]] = []
        self._seen = {_who(first)}
        self._inherited = {key: first[key] for key in SAMPLING if key in first}
        self._aliases, self._stage = aliases, stage

    def add(self, fallback: Any, path: tuple[str, ...]) -> None:
        """Adds a fallback, and then its own ones."""
        name = fallback if isinstance(fallback, str) else fallback.get("use", "")
        if name and name in path:
            return
        ref = merge(self._inherited, _expand(fallback, self._aliases, self._stage, ()))
        further = ref.pop("fallback", ())
        if _who(ref) in self._seen:
            return
        self._seen.add(_who(ref))
        self.refs.append(ref)
        for each in further:
            self.add(each, (*path, name))


def _who(ref: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return ref.get("provider"), ref.get("name"), ref.get("missing")


def _expand(ref: Any, aliases: Aliases, stage: str, path: tuple[str, ...]) -> dict[str, Any]:
    """Returns a ref with its alias put in; `alias` in it says that there was one."""
    if isinstance(ref, str):
        ref = {"use": ref}
    own = {key: value for key, value in ref.items() if key not in ("use", "stages")}
    found: dict[str, Any] = {}
    name = ref.get("use")
    if name is not None:
        if name in path:
            found = {"missing": f"the alias '{name}' leads back to itself"}
        elif name not in aliases:
            found = {"missing": f"there is no model alias '{name}'"}
        else:
            found = _expand(aliases[name], aliases, stage, (*path, name))
    found = merge(found, own)
    stages = ref.get("stages")
    if stages is not None:
        entry = stages.get(stage, stages.get(DEFAULT_STAGE))
        if entry is None:
            called = f"the alias '{path[-1]}'" if path else "the model"
            known = ", ".join(sorted(stages)) or "none"
            found["missing"] = f"{called} has no entry for the stage '{stage}'; it has {known}"
        else:
            found = merge(found, _expand(entry, aliases, stage, path))
    if name is not None:
        found["alias"] = name
    return found

"""Checks the names of models: that each is there, and that none stands for itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joinery.workflow.report import Collector, did_you_mean
from joinery.workflow.yaml_tree import escape_pointer


def check_models(data: Mapping[str, Any], out: Collector) -> None:
    """Reports names of models that are not there, and those that lead back to themselves."""
    models = data.get("models")
    if models is not None and not isinstance(models, dict):
        return
    known: Mapping[str, Any] = models or {}
    for name, pointer in _named(data, known):
        if name not in known:
            hint = did_you_mean(name, known) or f"add it: models: {{{name}: {{provider: …}}}}"
            text = f"there is no model '{name}' among the file's models"
            out.add("reference.unknown_model", text, pointer, hint=hint)
    for name in known:
        if _leads_back(name, known):
            out.add(
                "model.circle",
                f"the model '{name}' stands for itself",
                f"/models/{escape_pointer(name)}",
                hint="name a provider where it leads to",
            )


def _named(data: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields every name of a model, with its place."""
    defaults = data.get("defaults")
    if isinstance(defaults, dict):
        yield from _in_ref(defaults.get("model"), "/defaults/model")
    for kind in ("agents", "nodes"):
        parts = data.get(kind)
        for name, part in parts.items() if isinstance(parts, dict) else ():
            if isinstance(part, dict):
                yield from _in_ref(part.get("model"), f"/{kind}/{escape_pointer(name)}/model")
    for name, alias in known.items():
        if isinstance(alias, dict):
            yield from _in_ref(alias, f"/models/{escape_pointer(name)}")


def _in_ref(ref: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(ref, str):
        yield ref, pointer
    if not isinstance(ref, dict):
        return
    if isinstance(ref.get("use"), str):
        yield ref["use"], f"{pointer}/use"
    fallback, stages = ref.get("fallback"), ref.get("stages")
    for index, each in enumerate(fallback if isinstance(fallback, list) else ()):
        yield from _in_ref(each, f"{pointer}/fallback/{index}")
    for stage, each in stages.items() if isinstance(stages, dict) else ():
        yield from _in_ref(each, f"{pointer}/stages/{escape_pointer(str(stage))}")


def _leads_back(name: str, known: Mapping[str, Any]) -> bool:
    """Whether a name stands for itself in any stage; fallbacks may name each other."""
    seen: set[str] = set()
    todo = list(_stands_for(known[name]))
    while todo:
        each = todo.pop()
        if each == name:
            return True
        if each in known and each not in seen:
            seen.add(each)
            todo.extend(_stands_for(known[each]))
    return False


def _stands_for(alias: Any) -> Iterator[str]:
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, dict):
        if isinstance(alias.get("use"), str):
            yield alias["use"]
        stages = alias.get("stages")
        for each in stages.values() if isinstance(stages, dict) else ():
            yield from _stands_for(each)

"""The JSON Schema of workflow files, for editors.

It comes from the model, so it cannot fall behind it. It describes the shape of a file;
what a graph must be beyond that only `validation` can say.
"""

from __future__ import annotations

from typing import Any, Final

from joinery import limits
from joinery.workflow.model import Workflow

_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_FROM: Final = rf"\s*{_NAME}(\.{_NAME})?\s*"
_TO: Final = rf"\s*{_NAME}\s*"

EDGE_PATTERN: Final = rf"^({_FROM}(,{_FROM})*->)+{_TO}(,{_TO})*$"
"""`a -> b`, `a.port, b -> c, d`, `a -> b -> c`."""

DURATION_PATTERN: Final = r"^\s*\d+(\.\d+)?(ms|s|m|h|d)\s*$"

_DURATIONS: Final = {"timeout", "backoff"}

_DESCRIPTIONS: Final = {
    "version": "Version of the file format.",
    "inputs": "What a run takes: read with {{ inputs.x }}.",
    "models": "Models by names of your own, which may differ from stage to stage.",
    "stages": "The model of each stage; 'default' is for the others.",
    "use": "One of the models.",
    "fallback": "Which models are asked when this one does not answer, in order.",
    "reasoning": "How much the model thinks before it answers.",
    "schema_by": "How an answer in a form is asked for; without it what suits the provider.",
    "defaults": "What nodes use when they say nothing themselves.",
    "agents": "Personas with their models, by name.",
    "tools": "What tool nodes and agents call, by name; of an agent, the names of its tools.",
    "nodes": "The nodes by id.",
    "edges": "What follows what: 'start -> a', 'a.port -> b', 'a, b -> c, d', 'c -> end'.",
    "outputs": "What a run gives: expressions, read when all is done.",
    "budget": "What a run may use; more is refused, and the run waits for a larger budget.",
    "breaker": "When a run is stopped until somebody unlocks it; off for never.",
    "token_surge": "So many times the estimate in tokens.",
    "novelty": "Least mean novelty of a node's last 3 answers, 0 to 1.",
    "wall_time": "Time of a run without waits for people.",
    "velocity": "Tokens of answers in a second, for each node that may run at once.",
    "depth": "Rounds of a loop.",
    "tokens": "Tokens of prompts and answers.",
    "usd": "US dollars.",
    "price": "What the model costs, in US dollars for a million tokens.",
    "run_on": "A machine of many states, one Task for all nodes, or the cheaper that fits.",
    "prompt": "The whole user message, with expressions; or a file beside this one.",
    "images": "Images for the model: expressions that give data URLs, or lists of them.",
    "files": "Other files for the model, such as PDF: expressions that give data URLs.",
    "persona": "The system message, word for word.",
    "system": "The system message, word for word.",
    "output": "Properties of the answer, each a JSON Schema; read with nodes.x.output.y.",
    "code": "Python with the function to call; or a file beside this one.",
    "function": "The function of the code that is called.",
    "requirements": "What it imports besides the standard library: humanize==4.12.0, …",
    "parameters": "Properties of a JSON Schema; those without a default are required.",
    "arguments": "Values of the tool's parameters, with expressions.",
    "tool": "One of the tools.",
    "template": "Text with expressions.",
    "value": "An expression.",
    "if": "One expression that gives true or false.",
    "until": "One expression that gives true or false; true ends the loop.",
    "cases": "Ports by name, each with what the value must be, or a condition.",
    "workflow": "A published workflow by its name, or a file beside this one: ./debate.yaml.",
    "max_rounds": "The loop ends after so many rounds; an agent asks its model so often at most.",
    "max_calls": "So many tools an agent calls at most.",
    "tools_by": "How a model is told of its tools: as its provider does it, or in words.",
    "read_only": "Calls change nothing, so an agent's may run side by side.",
    "at_most_once": "A call that may have happened before a crash is not repeated.",
    "items": "An expression that gives a list, or a list.",
    "concurrency": "So many items run at the same time at most.",
    "max_items": "A longer list fails the node.",
    "expected_items": "So many items a run has as a rule; what 'joinery plan' reckons with.",
    "options": "What may be answered: names, or names with what each says. Names can be ports.",
    "on_item_error": "What follows when a node fails for an item: the run fails, or others go on.",
    "expected_rounds": "How many rounds are usual, 1 to max_rounds; for joinery plan alone.",
    "probabilities": "How often each port is taken, 0 to 1; for joinery plan alone.",
    "join": "Which parents must have ended before the node runs.",
    "on_error": "What follows when the node fails in the end.",
    "retry": "How often the node is tried; attempts count the first.",
    "timeout": "Longest time over all attempts, such as 30s or 5m.",
    "backoff": "Wait before the second attempt, such as 1s; doubles from there.",
    "fit": "What to do with a prompt that is too long for the model.",
    "when": "One expression that gives true or false; false leaves the edge not taken.",
}


def json_schema() -> dict[str, Any]:
    """Returns the schema (Draft 2020-12); the same on every call."""
    cleaned = _clean(Workflow.model_json_schema(by_alias=True))
    cleaned["$defs"]["CodeNode"]["properties"]["inputs"]["description"] = (
        "Arguments of the function, with expressions."
    )
    asks = cleaned["$defs"]["QuestionNode"]["properties"]
    asks["prompt"]["description"] = "The question, with expressions; or a file beside this one."
    asks["schema"]["description"] = "JSON Schema of the answer; text when unset."
    asks["default"]["description"] = "The answer when nobody answers in time."
    for form in cleaned["properties"]["edges"]["items"]["anyOf"]:
        if form.get("type") == "string":
            form["pattern"] = EDGE_PATTERN
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Joinery workflow",
        **cleaned,
    }


def _clean(schema: dict[str, Any]) -> dict[str, Any]:
    """Removes what pydantic adds for its own sake and says what it cannot know."""
    found: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "title" | "discriminator":
                continue
            case "default" if value is None or isinstance(value, dict):
                continue  # what an absent key means is said in words
            case "properties":
                found[key] = {name: _property(name, item) for name, item in value.items()}
            case "$defs":
                found[key] = {name: _clean(item) for name, item in value.items()}
            case "patternProperties":
                # The pattern alone would allow names that do not match.
                [(pattern, item)] = value.items()
                names = {"pattern": pattern, "maxLength": limits.NODE_ID_CHARS}
                found["propertyNames"] = {**found.get("propertyNames", {}), **names}
                found["additionalProperties"] = _clean(item)
            case "propertyNames":
                found[key] = {**value, **found.get(key, {})}
            case "anyOf" | "oneOf":
                found[key] = [_clean(item) for item in value]
            case "items" | "additionalProperties" if isinstance(value, dict):
                found[key] = _clean(value)
            case _:
                found[key] = value
    return found


def _property(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    found = _clean(schema)
    if name in _DURATIONS:
        kinds = ["string", "null"] if "anyOf" in schema else "string"
        found = {"type": kinds, "pattern": DURATION_PATTERN}
        if schema.get("default") is not None:
            found["default"] = f"{schema['default']:g}s"
    if name in _DESCRIPTIONS:
        found["description"] = _DESCRIPTIONS[name]
    return found

"""Whether a call that a model asks for can be made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joinery.agent_errors import PermanentToolUnusable
from joinery.llm.types import ToolCall
from joinery.tools.base import Tool

PROBLEMS: Final = 5
"""Most problems of arguments that a model is told at once."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a call is not made; the model is told.

    Attributes:
        code: Stable name.
        message: What the model is told.
    """

    code: str
    message: str


class Checker:
    """Checks calls against the parameters of the tools.

    Args:
        tools: By the names that the model calls them by.

    Raises:
        PermanentToolUnusable: The parameters of one are no JSON Schema.
    """

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from referencing import Registry

        self._tools = tools
        self._validators: dict[str, Any] = {}
        for name, tool in tools.items():
            schema = dict(tool.spec.parameters)
            try:
                Draft202012Validator.check_schema(schema)
            except (SchemaError, RecursionError) as error:
                told = getattr(error, "message", "it is nested too deeply")
                raise PermanentToolUnusable(
                    f"the parameters of the tool '{name}' are no JSON Schema: {told[:300]}",
                    tool=name,
                ) from None
            # An empty registry: a schema of somebody else must make us fetch nothing.
            self._validators[name] = Draft202012Validator(schema, registry=Registry())

    def check(self, call: ToolCall) -> tuple[Tool, dict[str, Any]] | Refused:
        """Returns the tool and its arguments, defaults filled in, or why there is no call."""
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(self._tools)
            return Refused("agent.unknown_tool", f"There is no tool '{call.name[:100]}'. "
                           f"The tools are: {known}.")  # fmt: skip
        try:
            given = json.loads(call.arguments) if call.arguments.strip() else {}
        except RecursionError:
            return Refused("agent.not_json", "The arguments are nested too deeply.")
        except ValueError as error:
            return Refused("agent.not_json", f"The arguments are not JSON: {error}.")
        if not isinstance(given, dict):
            return Refused("agent.arguments", "The arguments must be a JSON object.")
        arguments = {**_defaults(tool.spec.parameters), **given}
        try:
            wrong = self._wrong(call.name, arguments)
        except Exception as error:  # a schema that refers to what is not there
            raise PermanentToolUnusable(
                f"the parameters of the tool '{call.name}' cannot be checked: "
                f"{type(error).__name__}",
                tool=call.name,
            ) from error
        if wrong:
            return Refused("agent.arguments", f"The arguments do not match: {'; '.join(wrong)}")
        return tool, arguments

    def _wrong(self, name: str, arguments: Mapping[str, Any]) -> Sequence[str]:
        errors = self._validators[name].iter_errors(arguments)
        found: list[str] = []
        for error in errors:
            place = "/".join(str(part) for part in error.absolute_path) or "arguments"
            found.append(f"{place}: {error.message[:300]}")
            if len(found) == PROBLEMS:
                break
        return found


def _defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties = parameters.get("properties")
    return {
        name: schema["default"]
        for name, schema in (properties if isinstance(properties, Mapping) else {}).items()
        if isinstance(schema, Mapping) and "default" in schema
    }

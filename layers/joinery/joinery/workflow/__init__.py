"""The workflow: its model, its file formats, validation, expressions and the Python builder.

The names below are imported when they are first used: modules that nodes import
live in this package too, and must not bring pydantic with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from joinery.workflow.builder import WorkflowBuilder
    from joinery.workflow.builder_functions import PythonFunction
    from joinery.workflow.builder_handles import (
        AgentHandle,
        AnswerHandle,
        ConditionHandle,
        IterateHandle,
        LoopHandle,
        NodeHandle,
        Port,
        SwitchHandle,
    )
    from joinery.workflow.builder_values import Expression, ValueHandle
    from joinery.workflow.model import Workflow
    from joinery.workflow.syntax import escape

__all__ = [
    "AgentHandle",
    "AnswerHandle",
    "ConditionHandle",
    "Expression",
    "IterateHandle",
    "LoopHandle",
    "NodeHandle",
    "Port",
    "PythonFunction",
    "SwitchHandle",
    "ValueHandle",
    "Workflow",
    "WorkflowBuilder",
    "escape",
]

_MODULES: Final = {
    "Expression": "builder_values",
    "PythonFunction": "builder_functions",
    "ValueHandle": "builder_values",
    "Workflow": "model",
    "WorkflowBuilder": "builder",
    "escape": "syntax",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'builder_handles')}")
    return getattr(module, name)

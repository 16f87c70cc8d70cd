"""Takes a Python function apart: its source, alone, and the JSON Schema of its parameters."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import symtable
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union

from joinery.workflow.python_source import in_standard_library

_TYPES: Final[Mapping[object, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}

_MISSING: Final = object()

_INSTALLED: Final = ("site-packages", "dist-packages")
"""Folders of installed packages: https://docs.python.org/3/library/site.html"""


class Unusable(Exception):
    """A function cannot be taken; the arguments are all the reasons, as (message, hint)."""

    def __init__(self, *reasons: tuple[str, str]) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class _Names:
    """The names that a function takes from outside: where it computes, and in annotations."""

    used: tuple[str, ...]
    annotations: tuple[str, ...]


def source_of(function: Callable[..., Any], *, packages: bool = False) -> str:
    """Returns a function's source as a text of its own, with the imports that it needs.

    Args:
        function: The function.
        packages: Whether it may import what is installed here beside the standard library.

    Raises:
        Unusable: It is no plain function, its source is not there, or it uses what
            stands outside of it.
    """
    definition, text = _definition(function)
    names = _outer_names(definition)
    imports: dict[str, str] = {}
    reasons: list[tuple[str, str]] = []
    future = False
    for name in dict.fromkeys((*names.used, *names.annotations)):
        value = _value(function, name)
        line = _import_line(name, value, packages)
        if line:
            imports[name] = line
        elif name in names.used:
            reasons.append(_outside(name, value))
        else:
            future = True  # so that nobody asks what it means
    if reasons:
        raise Unusable(*reasons)
    head = ["from __future__ import annotations", ""] if future else []
    lines = [*head, *sorted(imports.values(), key=lambda line: (line.startswith("from"), line))]
    return "\n".join([*lines, *(["", ""] if imports else []), text]) + "\n"


def _definition(function: Callable[..., Any]) -> tuple[ast.FunctionDef, str]:
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise Unusable((f"{function!r} is no function written with 'def'", "write 'def'"))
    try:
        source = textwrap.dedent(inspect.getsource(function))
        found = ast.parse(source).body[0]
    except (OSError, SyntaxError, IndexError):
        raise Unusable(("its source cannot be read", "put it into a file")) from None
    if isinstance(found, ast.AsyncFunctionDef):
        raise Unusable(("it is async", "write 'def', and asyncio.run(...) inside"))
    if not isinstance(found, ast.FunctionDef):
        raise Unusable(("its source is no 'def'", "put it on lines of its own"))
    lines = source.split("\n")[found.lineno - 1 : found.end_lineno]
    return found, "\n".join(lines)


# -- names from outside ---------------------------------------------------------------------


class _WithoutAnnotations(ast.NodeTransformer):
    """Removes annotations and notes the names in them."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def visit_arg(self, node: ast.arg) -> ast.arg:
        self._note(node.annotation)
        return ast.copy_location(ast.arg(node.arg), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._note(node.returns)
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self._note(node.annotation)
        value = node.value or ast.Constant(None)
        return ast.copy_location(ast.Assign([node.target], self.visit(value)), node)

    def _note(self, annotation: ast.expr | None) -> None:
        if annotation is not None:
            self.names += [n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)]


def _outer_names(definition: ast.FunctionDef) -> _Names:
    definition.decorator_list = []
    cleaner = _WithoutAnnotations()
    bare = ast.fix_missing_locations(ast.Module([cleaner.visit(definition)], []))
    table = symtable.symtable(ast.unparse(bare), "<code>", "exec")
    own = {definition.name, *dir(builtins), *_set_globals(table)}
    used = [name for name in _globals_of(table) if name not in own]
    noted = [name for name in cleaner.names if name not in own]
    return _Names(tuple(dict.fromkeys(used)), tuple(dict.fromkeys(noted)))


def _globals_of(table: symtable.SymbolTable) -> Iterator[str]:
    """Yields the names that a piece of code and all inside it look up outside of it."""
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or (top and not symbol.is_assigned())):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals_of(child)


def _set_globals(table: symtable.SymbolTable) -> Iterator[str]:
    """Yields the globals that a piece of code sets itself, by `global`."""
    for symbol in table.get_symbols():
        if symbol.is_declared_global() and symbol.is_assigned():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _set_globals(child)


def _value(function: Callable[..., Any], name: str) -> Any:
    """Returns what a name means to a function, or `_MISSING`."""
    code: Any = function.__code__
    cells: Any = function.__closure__ or ()
    for free, cell in zip(code.co_freevars, cells, strict=True):
        if free == name:
            try:
                return cell.cell_contents
            except ValueError:  # not set yet
                return _MISSING
    return function.__globals__.get(name, _MISSING)


def _import_line(name: str, value: Any, packages: bool) -> str:
    """Returns the line that imports a value under a name; empty when none does."""
    if isinstance(value, types.ModuleType):
        module = value.__name__
        if not in_standard_library(module) and not (packages and _installed(module)):
            return ""
        if module == name:
            return f"import {module}"
        package, _, last = module.rpartition(".")
        if package and last == name:
            return f"from {package} import {last}"
        return f"import {module} as {name}"
    origin, known = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(origin, str) or not isinstance(known, str):
        return ""
    for home in (origin.partition(".")[0], origin):
        there = in_standard_library(home) or (packages and _installed(home))
        if there and getattr(sys.modules.get(home), known, None) is value:
            return f"from {home} import {known}" + ("" if known == name else f" as {name}")
    return ""


def _installed(module: str) -> bool:
    """Whether a module comes from an installed package, and is not the author's own."""
    found = sys.modules.get(module)
    places = [getattr(found, "__file__", None), *getattr(found, "__path__", ())]
    return any({*_INSTALLED} & set(Path(place).parts) for place in places if place)


def _outside(name: str, value: Any) -> tuple[str, str]:
    if value is _MISSING:
        return f"it uses '{name}', which is not defined", ""
    if isinstance(value, types.ModuleType):
        message = f"it uses '{name}', which is not in the standard library"
        return message, "name its package: requirements=['name==version']"
    hint = "pass it as an argument, or define it inside the function"
    return f"it uses '{name}', which is defined outside of it", hint


# -- parameters -----------------------------------------------------------------------------


def parameters_of(function: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of each parameter, from type hints and defaults.

    Raises:
        Unusable: With every parameter that has none.
    """
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:
        raise Unusable((f"its type hints cannot be read: {error}", "")) from None
    found: dict[str, dict[str, Any]] = {}
    reasons: list[tuple[str, str]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        try:
            found[name] = _parameter(parameter, hints)
        except Unusable as error:
            reasons += error.reasons
    if reasons:
        raise Unusable(*reasons)
    return found


def _parameter(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> dict[str, Any]:
    name = parameter.name
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise Unusable((f"the parameter '{parameter}' has no name of its own",
                        "name each parameter; arguments are passed by name"))  # fmt: skip
    if name not in hints:
        raise Unusable((f"the parameter '{name}' has no type", f"write '{name}: str'"))
    schema = schema_of(hints[name])
    if schema is None:
        raise Unusable(
            (
                f"the parameter '{name}' has the type {_shown(hints[name])}",
                "take str, int, float, bool, list, dict, Literal or Optional of these",
            )
        )
    if parameter.default is not parameter.empty:
        try:
            json.dumps(parameter.default, allow_nan=False)
        except (TypeError, ValueError):
            raise Unusable((f"the default of '{name}' is not JSON", "")) from None
        schema["default"] = parameter.default
    return schema


def schema_of(hint: Any) -> dict[str, Any] | None:
    """Returns the JSON Schema of a type hint, or None where there is none."""
    if isinstance(hint, type) and hint in _TYPES and typing.get_origin(hint) is None:
        return {"type": _TYPES[hint]}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        kinds = {_TYPES.get(type(value)) for value in args}
        if None in kinds:
            return None
        return {**({"type": kinds.pop()} if len(kinds) == 1 else {}), "enum": list(args)}
    if origin is list:
        items = schema_of(args[0])
        return None if items is None else {"type": "array", "items": items}
    if origin is dict:
        values = schema_of(args[1])
        if args[0] is not str or values is None:
            return None
        return {"type": "object", "additionalProperties": values}
    if origin in (Union, types.UnionType):
        options = [schema_of(arg) for arg in args]
        return None if None in options else {"anyOf": options}
    return None


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)

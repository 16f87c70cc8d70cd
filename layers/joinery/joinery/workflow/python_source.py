"""Reads Python that users write, without running it: what is wrong, and what it takes."""

from __future__ import annotations

import ast
import symtable
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from joinery.workflow.report import did_you_mean

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_SHOWN: Final = 10
"""Most names that a hint lists."""

_TOO_DEEP: Final = (RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong in code.

    Attributes:
        code: Stable name of the rule.
        message: What is wrong.
        hint: What to write instead.
        line: Its line in the code, from 1.
        column: Its column there, from 1.
    """

    code: str
    message: str
    hint: str = ""
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Signature:
    """The keyword arguments of a function.

    Attributes:
        required: Those without a default.
        optional: Those with one.
        anything: Whether it takes any others as well.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    anything: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order."""
        return (*self.required, *self.optional)


def read_source(
    source: str, function: str, *, packages: bool = False
) -> tuple[list[Flaw], Signature | None]:
    """Returns what is wrong in code, and what one of its functions takes when that is known.

    Args:
        source: The code.
        function: The function that is called.
        packages: Whether it has packages, of which nobody knows here what they bring.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape is the author's affair
            tree = ast.parse(source)
            compile(source, "<code>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return [Flaw("code.syntax", f"this is not Python: {error.msg}", "",
                     error.lineno or 1, max(1, error.offset or 1))], None  # fmt: skip
    except _TOO_DEEP:
        return [Flaw("code.syntax", "the code is nested too deeply")], None
    except ValueError as error:  # a null byte
        return [Flaw("code.syntax", f"this is not Python: {error}")], None
    flaws = [
        Flaw("code.import", f"'{name}' is not in the standard library", hint, line, column)
        for name, line, column in _imports(tree)
        for hint in (_hint(name),)
        if not packages or name.startswith(".")
    ]
    found = _named(tree, function)
    if found is None:
        if not _bound(source, function):
            flaws.append(_no_function(tree, function))
        return flaws, None
    kind = _kind_flaw(found, function)
    if kind is not None:
        return [*flaws, kind], None
    return flaws, signature_of(found.args)


def signature_of(args: ast.arguments) -> Signature:
    """Returns what a function takes by keyword."""
    with_default = len(args.args) - len(args.defaults)
    plain = [arg.arg for arg in args.args]
    pairs = list(zip(args.kwonlyargs, args.kw_defaults, strict=True))
    return Signature(
        (*plain[:with_default], *(arg.arg for arg, default in pairs if default is None)),
        (*plain[with_default:], *(arg.arg for arg, default in pairs if default is not None)),
        args.kwarg is not None,
    )


def _named(tree: ast.Module, name: str) -> Function | None:
    """Returns the last function of this name at the top level."""
    found: Function | None = None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            found = node
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found = node.value if name in targets else found
    return found


def _bound(source: str, name: str) -> bool:
    """Whether a name is given a value at the top level: imported, assigned, in a block."""
    try:
        symbol = symtable.symtable(source, "<code>", "exec").lookup(name)
    except KeyError:
        return False
    return symbol.is_assigned() or symbol.is_imported()


def _no_function(tree: ast.Module, name: str) -> Flaw:
    known = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    hint = did_you_mean(name, known) or f"write 'def {name}(...):'"
    return Flaw("code.no_function", f"the code has no function '{name}'", hint)


def _kind_flaw(found: Function, name: str) -> Flaw | None:
    line, column = found.lineno, found.col_offset + 1
    if isinstance(found, ast.AsyncFunctionDef):
        return Flaw("code.function_kind", f"'{name}' is async", "write 'def', and asyncio.run(...) "
                    "inside where you need it", line, column)  # fmt: skip
    if found.args.posonlyargs:
        first = found.args.posonlyargs[0].arg
        return Flaw("code.function_kind", f"'{name}' takes '{first}' by position only",
                    "remove the '/': arguments are passed by name", line, column)  # fmt: skip
    if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own(found)):
        return Flaw("code.function_kind", f"'{name}' is a generator", "collect the values in a "
                    "list and return it", line, column)  # fmt: skip
    return None


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Yields what stands in a function, without the functions inside it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own(child)


def unprovided(source: str, modules: Collection[str]) -> Iterator[Flaw]:
    """Yields imports in valid code of what neither Python nor its packages bring.

    Args:
        source: The code.
        modules: The top-level names that its packages bring.
    """
    known = ", ".join(sorted(modules)[:_SHOWN])
    for name, line, column in _imports(ast.parse(source)):
        if name.partition(".")[0] not in modules:
            message = f"'{name}' is in none of the packages that are required"
            hint = did_you_mean(name, modules) or f"they have: {known}"
            yield Flaw("code.import", message, hint, line, column)


def _hint(name: str) -> str:
    if name.startswith("."):
        return "code stands alone: write what it needs into it"
    return "add the package that has it: requirements: [name==version]"


def _imports(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """Yields imports of what the standard library has not, each with its line and column.

    In a `try`, the author knows.
    """
    tried = {
        inner for node in ast.walk(tree) if isinstance(node, ast.Try)
        for statement in node.body for inner in ast.walk(statement)
    }  # fmt: skip
    for node in ast.walk(tree):
        if node in tried:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        for name in names:
            if not in_standard_library(name):
                yield name, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1


def in_standard_library(name: str) -> bool:
    """Whether Python brings a module along."""
    return name.partition(".")[0] in sys.stdlib_module_names


def argument_flaws(given: Mapping[str, object], takes: Signature) -> Iterator[tuple[str, Flaw]]:
    """Yields what is wrong with arguments, each with the name it is about."""
    for name in takes.required:
        if name not in given:
            yield name, Flaw("code.missing_argument", f"the argument '{name}' is missing",
                             f'add \'{name}: "{{{{ ... }}}}"\'')  # fmt: skip
    for name in given:
        if name not in takes.names and not takes.anything:
            hint = did_you_mean(name, takes.names) or "the function takes no arguments"
            yield name, Flaw("code.unknown_argument", f"there is no argument '{name}'", hint)

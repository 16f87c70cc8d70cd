"""Evaluates JSONata within bounds of time, steps, depth, memory and size.

Two ways, chosen by what the expression can do:

* **Here**, when its work is linear in expression and data (`jsonata_ast.LINEAR`):
  look-ups, comparisons, arithmetic, the plain functions, and regular expressions
  without repetition. Every step checks the clock, and no single step can take long.
  About 0.1 ms.
* **In a child process** otherwise: user functions, ranges, `$map`, `$replace`, real
  regular expressions. Python's `re` holds the interpreter while it backtracks and
  cannot be interrupted from within: `/(a+)+$/` on 40 letters takes hours, and a
  growing string or list can eat all memory between two looks at the clock. The child
  asks the kernel for a timer that kills it and for a cap on its memory, so there is
  nothing an expression could do about either. Starting it takes about 0.1 s, which is
  why the common expressions stay here.

Standard library only; jsonata-python is imported when the first expression needs it.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joinery.workflow.jsonata_ast import Analysis, analyse
from joinery.workflow.jsonata_parse import compile_source, explain, library_class, too_deep
from joinery.workflow.paths import NOTHING, Missing, NeedsJsonata, Reference, Scope, walk

TIMEOUT_S: Final = 1.0
"""Computing time for one evaluation, the start of a child process not counted.

Waiting for the processor does not count either: it says nothing about the expression, and
a Lambda function of 512 MB gets a third of one.
"""

STEPS_MAX: Final = 1_000_000
DEPTH_MAX: Final = 1_000
OUTPUT_CHARS: Final = 4 * 1_048_576
"""Largest result, counted as JSON text: what all inputs of a run may be together."""

CHILD_MEMORY_BYTES: Final = 256 * 1_048_576
"""Address space of the child: half of what `run_node` has."""

CHILD_START_S: Final = 10.0
CHILD_DEPTH: Final = 60
"""Syntax trees deeper than this run in the child, which allows deeper recursion."""


class EvaluationError(Exception):
    """An expression failed; the message is for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Jsonata:
    """A parsed expression.

    Attributes:
        source: Its text.
        analysis: What it reads and what it may do.
        program: jsonata-python's compiled form; never changed once made.
    """

    source: str
    analysis: Analysis
    program: Any

    def evaluate(self, scope: Scope, timeout_s: float = TIMEOUT_S) -> Any:
        """Returns the value as plain JSON data, or `NOTHING`.

        Raises:
            Missing: Something it reads has no value, and nothing says what to do then.
            EvaluationError: It failed or passed a bound.
        """
        document = scope.document(self.analysis.references)
        for reference in self.analysis.required:
            _require(document, reference)
        if self.analysis.linear and self.analysis.depth <= CHILD_DEPTH:
            return evaluate_here(self.program, document, timeout_s)
        return evaluate_in_child(self.source, document, timeout_s)


def parse(source: str) -> Jsonata:
    """Parses an expression and finds what it reads.

    Raises:
        ExpressionSyntax: It is malformed, or uses something that is not allowed.
    """
    program = compile_source(source)
    library = library_class()
    try:
        analysis = analyse(program.ast, library.static_frame.bindings)
    except RecursionError:
        raise too_deep() from None
    return Jsonata(source, analysis, program)


def _require(document: Mapping[str, Any], reference: Reference) -> None:
    """Raises when a required reference has no value."""
    try:
        found = walk(document, (reference.root, *reference.path))
    except NeedsJsonata:
        return  # what a path means on lists is JSONata's affair
    if found is NOTHING:
        raise Missing(reference.text)


# -- here -------------------------------------------------------------------------------


def evaluate_here(program: Any, document: dict[str, Any], timeout_s: float) -> Any:
    """Evaluates in this process; returns plain data or `NOTHING`.

    Raises:
        EvaluationError: It failed or passed a bound.
    """
    library = library_class()
    # A copy of its own for this thread: the library keeps state on the instance, and
    # `$now()` asks the thread's current one.
    instance = copy.copy(program)
    instance.set_output_convert_nulls(False)
    instance.set_validate_input(False)
    library.CURRENT.jsonata = instance
    entry, leave = _guards(timeout_s)
    bindings = {"eval": None, "__evaluate_entry": entry, "__evaluate_exit": leave}
    try:
        return _plain(instance.evaluate(document, bindings))
    except EvaluationError:
        raise
    except Exception as error:
        raise EvaluationError(explain(error)) from error


def _guards(timeout_s: float) -> tuple[Any, Any]:
    deadline = time.thread_time() + timeout_s
    steps = depth = 0

    def entry(_expression: Any, _input: Any, _environment: Any) -> None:
        nonlocal steps, depth
        steps += 1
        depth += 1
        if depth > DEPTH_MAX:
            raise EvaluationError("it calls itself without end")
        if steps > STEPS_MAX or time.thread_time() > deadline:
            raise EvaluationError(f"it took longer than {timeout_s:g} s")

    def leave(_expression: Any, _input: Any, _environment: Any, result: Any) -> None:
        nonlocal depth
        depth -= 1
        if isinstance(result, str | list) and len(result) > OUTPUT_CHARS:
            raise _too_large()

    return entry, leave


def _too_large() -> EvaluationError:
    return EvaluationError(f"its value is larger than {OUTPUT_CHARS:,} characters")


def _plain(result: Any) -> Any:
    """Returns the library's value as plain JSON data, or `NOTHING`.

    Counts as it copies: a value may hold the same part many times over.
    """
    from jsonata.utils import Utils

    left = OUTPUT_CHARS

    def plain(value: Any) -> Any:
        nonlocal left
        left -= 1
        if isinstance(value, str):
            left -= len(value)
        if left < 0:
            raise _too_large()
        if value is None or value is Utils.NULL_VALUE:
            return None
        if isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            left -= sum(map(len, value))
            return {str(key): plain(item) for key, item in value.items()}
        raise EvaluationError("its value is a function")

    return NOTHING if result is None else plain(result)


# -- in a child process -----------------------------------------------------------------

_CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from joinery.workflow.jsonata_eval import child; child()"
)


def evaluate_in_child(source: str, document: dict[str, Any], timeout_s: float) -> Any:
    """Evaluates in a process that the kernel ends in time; returns plain data or `NOTHING`.

    Raises:
        EvaluationError: It failed or passed a bound.
    """
    request = json.dumps({"source": source, "document": document, "timeout_s": timeout_s})
    # No variable of ours but what finds the interpreter's own libraries: the child has
    # no use for keys.
    environment = {
        name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD, json.dumps(sys.path)],
            input=request.encode(),
            capture_output=True,
            env=environment,
            timeout=CHILD_START_S + timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EvaluationError(f"it took longer than {timeout_s:g} s") from None
    if done.returncode == -signal.SIGPROF:
        raise EvaluationError(f"it took longer than {timeout_s:g} s")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"exit status {done.returncode}"
        raise EvaluationError(f"it ended its process: {reason}") from None
    if "error" in answer:
        raise EvaluationError(str(answer["error"]))
    return answer.get("value", NOTHING)


def child() -> None:
    """Reads one request from standard input and writes one answer; runs in the child."""
    import resource

    request = json.load(sys.stdin)
    program = compile_source(request["source"])
    timeout_s = float(request["timeout_s"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    # The default action ends the process without asking Python, so it also ends a
    # regular expression in the middle of backtracking. A little later than the
    # evaluator's own clock, whose message is better.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, timeout_s + 0.1)
    sys.setrecursionlimit(10_000)
    try:
        value = evaluate_here(program, request["document"], timeout_s)
        answer = {} if value is NOTHING else {"value": value}
    except EvaluationError as error:
        answer = {"error": str(error)}
    signal.setitimer(signal.ITIMER_PROF, 0)
    sys.stdout.write(json.dumps(answer))

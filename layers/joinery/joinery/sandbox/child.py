"""The program in the sandbox: takes one request, calls one function, writes one answer.

Its text is given to `python -I -S -c`, so it imports nothing of ours. It shares its
process with the user's code, which may break whatever it likes: nobody trusts what
comes out of here (`answer.py` reads it).
"""

from __future__ import annotations

import json
import os
import resource
import sys
from math import isfinite
from types import ModuleType
from typing import Any

DEPTH_MAX = 100
INT_BITS = 10_000
MESSAGE_CHARS = 2_000


class NotJson(Exception):
    """A value that JSON has no form for."""


def plain(value: Any, place: str, depth: int = 0) -> Any:
    """Returns a value as JSON data; exact, or refused by its place."""
    if value is None or isinstance(value, (bool, str, int, float)):
        return scalar(value, place)
    if depth > DEPTH_MAX:
        raise NotJson(f"{place[:80]}... is nested deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise NotJson(f"{place} has the key {key!r:.80}; keys must be text")
        return {
            scalar(k, place): plain(v, f"{place}[{k!r:.80}]", depth + 1) for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain(v, f"{place}[{i}]", depth + 1) for i, v in enumerate(value)]
    raise NotJson(f"{place} is of the type {type(value).__name__}")


def scalar(value: Any, place: str) -> Any:
    """Returns one value without the class that it may be of."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotJson(f"{place} holds half of a surrogate pair") from None
        return str.__str__(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > INT_BITS:
            raise NotJson(f"{place} is a number of {value.bit_length():,} bits")
        return int(value)
    if not isfinite(value):
        raise NotJson(f"{place} is {float(value)}, which JSON does not have")
    return float(value)


def limit(limits: dict[str, int]) -> None:
    """Asks the kernel to end what goes too far; hard limits, which nobody can raise again."""
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            # One more second of CPU time, so that the signal tells what happened.
            spare = 1 if name == "RLIMIT_CPU" else 0
            try:
                _, hard = resource.getrlimit(number)
                most = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(number, (most, most + spare))
            except (OSError, ValueError):
                pass  # macOS has no cap on memory


def raised(error: BaseException, source: str) -> dict[str, Any]:
    """Returns an exception with the line of the user's code that it came from."""
    kind = "memory" if isinstance(error, MemoryError) else "raised"
    if isinstance(error, SystemExit):
        kind = "ended"
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<code>":
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == "<code>":
        line = error.lineno or 0
    try:
        message = str(error)
    except Exception:
        message = ""
    lines = source.split("\n")
    shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    return {"error": kind, "type": type(error).__name__, "message": message[:MESSAGE_CHARS],
            "line": line, "source": shown[:200]}  # fmt: skip


def call(request: dict[str, Any]) -> dict[str, Any]:
    """Runs the code and returns the answer."""
    source = request["code"]
    module = ModuleType("user_code")  # one of its own, where classes find their module
    sys.modules["user_code"] = module
    try:
        exec(compile(source, "<code>", "exec"), module.__dict__)
        value = getattr(module, request["function"])(**request["arguments"])
    except BaseException as error:
        return raised(error, source)
    try:
        return {"output": plain(value, "the result")}
    except NotJson as error:
        return {"error": "not_json", "message": str(error)}


def main() -> None:
    """Reads, limits itself, runs, answers, and ends without asking anybody."""
    # Taken now: the user's code may change what these names mean.
    write, leave, encode = os.write, os._exit, json.JSONEncoder(ensure_ascii=False).encode
    everything, flush = BaseException, sys.stdout.flush
    with open(0, "rb", closefd=False) as file:
        request = json.loads(file.read())
    channel = request["channel"]
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.set_inheritable(channel, False)
    os.chdir(request["folder"])
    os.environ.clear()
    if request["packages"]:
        sys.path.append(request["packages"])  # last: nothing takes the place of Python's own
    limit(request["limits"])
    if request["filter"]:
        scope: dict[str, Any] = {"__name__": "filter"}
        exec(request["filter"], scope)
        scope["install"]()
    write(channel, b"\n")  # from here its own time counts; to JSON it is nothing
    try:
        left = encode(call(request)).encode()
        while left:
            left = left[write(channel, left) :]
        flush()
    except everything:
        leave(70)
    leave(0)

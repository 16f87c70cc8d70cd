"""The results of an agent's calls: made once, noted, cut for the model, told to viewers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from joinery.llm.types import ToolCall, ToolSpec
from joinery.nodes.base import NodeContext
from joinery.runs.journal import Journal
from joinery.tools import cutting, reading, showing
from joinery.tools.base import Tool
from joinery.tools.calling import Caller, Made, Pending, make_calls
from joinery.tools.checking import Checker, Refused

ARGUMENTS_SHOWN: Final = 1_000
"""Code points of a call's arguments in its event; the stream has all of them."""

NOTHING: Final = "[the tool gave no result]"
"""Not every provider takes an empty result."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the model is told of a call.

    Attributes:
        content: The result, or why there is none.
        is_error: Whether the call failed or was refused.
        made: Whether it was made at all.
        over: Whether it was refused because no more calls are allowed.
    """

    content: str
    is_error: bool = False
    made: bool = True
    over: bool = False


class Results:
    """Makes calls and keeps what they gave.

    Args:
        context: The attempt.
        journal: Where results are noted.
        tools: By the names that the model calls them by.
    """

    def __init__(self, context: NodeContext, journal: Journal, tools: Mapping[str, Tool]) -> None:
        self._context, self._journal = context, journal
        self._own = tools
        reader = reading.ReadResult(self._found, journal.read_whole)
        self._checker = Checker({**tools, reading.NAME: reader})
        self._cut = False
        self.count = 0
        """Calls that were made so far."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """Returns what the model may call: `read_result` once a result was cut."""
        own = tuple(tool.spec for tool in self._own.values())
        return (*own, reading.SPEC) if self._cut else own

    def close(self) -> None:
        """Closes what the tools keep open."""
        for tool in self._own.values():
            close = getattr(tool, "close", None)
            if close is not None:
                with suppress(Exception):
                    close()

    def of(self, round_: int, calls: Sequence[ToolCall], most: int, *, fresh: bool) -> list[Told]:
        """Returns what the model is told of each call, in their order.

        Args:
            round_: The round that asks for them.
            calls: The calls.
            most: How many may be made in all rounds together.
            fresh: Whether the answer is new: viewers know of an old one's refused calls.
        """
        told: dict[int, Told] = {}
        pending: list[Pending] = []
        for index, call in enumerate(calls):
            noted = self._journal.get(_entry(round_, index, "result"))
            if noted is not None:
                self.count += 1
                told[index] = self._as_noted(noted)
                continue
            checked: Any = self._checker.check(call)
            over = self.count >= most
            if over:
                checked = Refused("agent.too_many_calls", f"No more than {most} calls are allowed.")
            if isinstance(checked, Refused):
                if fresh:
                    self._refused(round_, index, call, checked)
                told[index] = Told(f"Error: {checked.message}", True, made=False, over=over)
                continue
            self.count += 1
            tool, arguments = checked
            if tool.at_most_once and not self._first_time(round_, index):
                told[index] = self._unknown(round_, index, call)
                continue
            pending.append(self._pending(round_, index, tool, arguments))
        for made in make_calls(self._caller(round_, calls), pending):
            told[made.pending.index] = self._ended(round_, calls[made.pending.index], made)
        return [told[index] for index in range(len(calls))]

    # -- before a call -----------------------------------------------------------------

    def _pending(self, round_: int, index: int, tool: Tool, arguments: dict[str, Any]) -> Pending:
        key = self._journal.key_of(f"{round_}.{index}")
        return Pending(index, tool, arguments, key, tool.timeout_s)

    def _first_time(self, round_: int, index: int) -> bool:
        """Notes that a call is about to be made; returns False if that was noted before."""
        entry_id = _entry(round_, index, "called")
        if self._journal.get(entry_id) is not None:
            return False
        self._journal.put(entry_id, {})
        return True

    def _caller(self, round_: int, calls: Sequence[ToolCall]) -> Caller:
        context = self._context

        def begins(pending: Pending) -> None:
            call = calls[pending.index]
            arguments = call.arguments[:ARGUMENTS_SHOWN]
            data = {**_named(round_, pending.index, call), "arguments": arguments}
            context.emit("tool.called", {**data, "key": pending.key})

        return Caller(
            context.run_id,
            context.owner,
            context.session_id,
            context.cancelled,
            begins,
            lambda pending: context.trace.tool(calls[pending.index].name, calls[pending.index].id),
            context.deadline,
            self._check_time,
        )

    def _check_time(self) -> None:
        """Leaves the calls that are under way when the run's time is over."""
        guard = self._context.guard
        if guard.out_of_time():
            raise guard.late()

    # -- after it ----------------------------------------------------------------------

    def _ended(self, round_: int, call: ToolCall, made: Made) -> Told:
        index, result, code = made.pending.index, made.result, made.code
        try:
            if result.data is None:
                told = cutting.of_text(str(result.content) or NOTHING)
                shown = showing.of_text(told.whole)
            else:
                told = cutting.of_data(result.data)
                shown = showing.of_data(result.data, told.whole)
        except (TypeError, ValueError, RecursionError) as error:
            code = code or "agent.result_not_json"
            told = cutting.of_text(f"The result cannot be said in JSON: {error}")
            shown = showing.of_text(told.whole)
        content = f"Error: {told.text}" if code else told.text
        entry: dict[str, Any] = {
            "content": content,
            "is_error": bool(code),
            "chars": len(told.whole),
            "cut": told.cut,
        }
        if told.cut:
            entry["whole"] = self._journal.put_whole(_entry(round_, index, "result"), told.whole)
            lists = told.noted()
            if lists:
                entry["lists"] = lists
            entry["content"] += reading.hint(f"{round_}.{index}", len(told.whole), lists)
        if result.usage:
            entry["below"] = dict(result.usage)
        self._journal.put(_entry(round_, index, "result"), entry)
        if result.usage:
            self._context.meter.below.append(result.usage)
        self._tell(_named(round_, index, call), entry, shown, code, made.seconds)
        return self._as_noted(entry)

    def _as_noted(self, entry: Mapping[str, Any]) -> Told:
        self._cut = self._cut or bool(entry["cut"])
        return Told(entry["content"], bool(entry["is_error"]))

    def _unknown(self, round_: int, index: int, call: ToolCall) -> Told:
        content = (
            "Error: It is not known whether this call was made before an interruption; it is "
            "not repeated."
        )
        entry = {"content": content, "is_error": True, "chars": len(content), "cut": False}
        self._journal.put(_entry(round_, index, "result"), entry)
        shown = showing.of_text(content.removeprefix("Error: "))
        self._tell(_named(round_, index, call), entry, shown, "agent.outcome_unknown")
        return self._as_noted(entry)

    def _refused(self, round_: int, index: int, call: ToolCall, refused: Refused) -> None:
        entry = {"chars": len(refused.message), "cut": False}
        shown = showing.of_text(refused.message)
        self._tell(_named(round_, index, call), entry, shown, refused.code)

    def _tell(
        self,
        named: Mapping[str, Any],
        entry: Mapping[str, Any],
        shown: showing.Shown,
        code: str,
        seconds: float = 0.0,
    ) -> None:
        data = {
            **named,
            "ok": not code,
            "duration_ms": round(seconds * 1000),
            "chars": entry["chars"],
            "cut": entry["cut"],
            "result": shown.result,
            **({"result_cut": list(shown.cut)} if shown.cut else {}),
            **({"code": code} if code else {}),
        }
        self._context.emit("tool.completed", data)

    def _found(self, result_id: str) -> Mapping[str, Any] | None:
        """Returns the entry of a result by what the model calls it."""
        round_, _, index = result_id.partition(".")
        if not (round_.isascii() and round_.isdigit() and index.isascii() and index.isdigit()):
            return None
        return self._journal.get(_entry(int(round_[:6]), int(index[:6]), "result"))


def _entry(round_: int, index: int, kind: str) -> str:
    return f"{round_:04d}.{index:03d}.{kind}"


def _named(round_: int, index: int, call: ToolCall) -> dict[str, Any]:
    return {"round": round_, "index": index, "call_id": call.id, "tool": call.name[:100]}

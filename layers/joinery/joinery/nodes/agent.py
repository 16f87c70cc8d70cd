"""An agent with tools: asks its model, makes the calls that it wants, and asks again.

Each answer and each result is in the journal before the next step, so another attempt
goes on where this one ended: it asks for no answer and makes no call again whose end
was noted. A call that was cut off in between is made again, under the same key.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from joinery import agent_errors as errors
from joinery.errors import RunCancelled, RunSuspended, TransientOutputInvalid
from joinery.llm.types import Message, ToolCall, ToolSpec, Usage
from joinery.model_errors import PermanentContextTooLong
from joinery.nodes.answers import correction, rejected, result_of
from joinery.nodes.asking import Answer, Question, ask_model
from joinery.nodes.base import NodeContext, NodeResult
from joinery.nodes.compaction import RECOVERIES, Compactor
from joinery.nodes.conversation import Conversation, Exchange, limit_of
from joinery.nodes.tool_results import Results, Told
from joinery.tools.registry import open_tools

CALLS_AT_ONCE: Final = 128
"""Most calls of one answer; the model is told that the others were dropped."""

INVALID_TOLD: Final = 2
EMPTY_TOLD: Final = 3
REPAIRS: Final = 2

SAME_FAILURE: Final = 5
"""So often the same call may fail in the same way before the model is told not to repeat it."""

NOTICES: Final = 2
"""So many different failures are told of; the agent stops at one more, or when one goes on."""

TIME_SHARE: Final = 0.2
TIME_KEPT_S: Final = 60.0
"""Time that is kept for the last answer: a share of the node's timeout, at most this."""

PART: Final = "\n\n"
"""Stands between the texts of two rounds."""

LAST: Final = {
    "rounds": "all rounds are used up",
    "calls": "all calls are used up",
    "time": "the time is nearly used up",
}


@dataclass(frozen=True, slots=True)
class _Turn:
    """A round's answer, why it is the last, if it is, and whether it is new."""

    answer: Answer
    last: str
    dropped: int
    fresh: bool

    @staticmethod
    def of(entry: Mapping[str, Any]) -> _Turn:
        """Returns the turn that an entry of the journal holds."""
        used = entry["usage"]
        answer = Answer(
            entry["text"],
            Usage(**used["tokens"]),
            entry["reason"],
            tuple(ToolCall(**call) for call in entry["calls"]),
            used["provider"],
            used["model"],
        )
        return _Turn(answer, str(entry["last"]), int(entry["dropped"]), fresh=False)


class Agent:
    """One attempt of an agent.

    Args:
        context: The attempt.
        opening: Persona and prompt.
    """

    def __init__(self, context: NodeContext, opening: tuple[Message, ...]) -> None:
        assert context.journal is not None
        spec = context.node.spec
        self._context, self._spec, self._journal = context, spec, context.journal
        self._talk = Conversation(opening)
        self._compactor = Compactor(context, self._talk, self._note_compaction)
        self._results = Results(context, self._journal, open_tools(spec["tools"], context))
        self._failures: dict[str, int] = {}
        self._invalid = 0
        self._limit: int | None = None
        self._lengths = context.streams.lengths()
        self._used = (context.meter.usage, context.meter.model_calls)

    def work(self) -> NodeResult:
        """Goes through the rounds and returns the answer.

        Raises:
            RunCancelled: The run was cancelled meanwhile.
            RunSuspended: It was paused: the rounds so far are kept.
            NodeError: Why there is no answer; see `joinery.agent_errors`.
        """
        try:
            round_ = 0
            while True:
                round_ += 1
                turn = self._turn(round_)
                answer = turn.answer
                if turn.last:
                    return self._result(answer, turn.last)
                said = Message("assistant", answer.text, tool_calls=answer.tool_calls)
                results = self._use_tools(round_, turn) if answer.tool_calls else ()
                heard = self._heard(round_ + 1)
                if not (results or heard):
                    return self._result(answer, turn.last)
                self._talk.tail.append(Exchange(said, (*results, *heard)))
        finally:
            self._results.close()

    def _heard(self, round_: int) -> tuple[Message, ...]:
        """Returns what people have told the agent until a round, as messages of the user."""
        known = self._journal.get(f"{round_:04d}.answer") is not None
        taken = self._context.take_inputs(round_, again=known)
        return tuple(Message("user", str(given.value)) for given in taken)

    # -- asking ------------------------------------------------------------------------

    def _turn(self, round_: int) -> _Turn:
        """Returns a round's answer: from the journal, or from the model."""
        compacted = self._journal.get(f"{round_:04d}.compact")
        if compacted is not None:
            self._compactor.replay(compacted)
        noted = self._journal.get(f"{round_:04d}.answer")
        if noted is not None:
            return _Turn.of(noted)
        self._stop_if_told()
        last = self._last(round_)
        data = {
            "round": round_,
            "max_rounds": self._spec["max_rounds"],
            "calls": self._results.count,
        }
        self._context.emit("agent.round", {**data, "last": last} if last else data)
        turn = _identified(self._ask_until_usable(round_, last), round_, last)
        if last and not turn.answer.text.strip():
            raise errors.PermanentNoAnswer(
                f"the model asked for more tools, but {LAST[last]}",
                reason=last,
                calls=self._results.count,
            )
        self._note(round_, turn)
        return turn

    def _stop_if_told(self) -> None:
        if self._context.cancelled():
            raise RunCancelled("the run was cancelled between two rounds of an agent")
        if self._context.paused():
            raise RunSuspended("the run is paused")

    def _last(self, round_: int) -> str:
        """Returns why the model can only answer now, `""` when it may call tools."""
        left = self._context.deadline - time.monotonic()
        if round_ >= self._spec["max_rounds"]:
            return "rounds"
        if self._results.count >= self._spec["max_calls"]:
            return "calls"
        return "time" if left < min(TIME_KEPT_S, TIME_SHARE * self._context.node.timeout_s) else ""

    def _ask_until_usable(self, round_: int, last: str) -> Answer:
        """Asks, and tells the model what is wrong with its answer, a few times.

        What it is told here is forgotten once it has given an answer that can be used.
        """
        aside: list[Message] = []
        if last and self._talk.tail:
            aside.append(Message("user", f"No more tools can be called: {LAST[last]}. "
                                 "Answer now with what you have."))  # fmt: skip
        formal = self._spec["schema"] is not None
        final, empty, repairs = bool(last), 0, 0
        while True:
            answer = self._ask(round_, aside, last=last, final=final)
            if not answer.text.strip() and not answer.tool_calls:
                empty += 1
                error = _nothing(empty)
                told = rejected(self._context, answer, error, round=round_)
                if empty > EMPTY_TOLD:
                    raise told
                aside.append(Message("user", "Your answer was empty. Please answer."))
                continue
            if answer.tool_calls and not (last and answer.text.strip()):
                return answer
            try:
                result_of(self._context, answer)
            except TransientOutputInvalid as error:
                if formal and not final and "checks" not in error.details:
                    say = "Give your answer as JSON that matches the schema, and nothing else."
                else:
                    told = rejected(self._context, answer, error, round=round_)
                    if repairs == REPAIRS:
                        raise told from None
                    repairs += 1
                    say = correction(error.details["problems"], formal=formal)
                aside += [Message("assistant", answer.text or "{}"), Message("user", say)]
                final = True
            else:
                return answer

    def _ask(self, round_: int, aside: list[Message], *, last: str, final: bool) -> Answer:
        tools = self._results.specs()
        self._fit(round_, tools)
        for recovery in range(RECOVERIES + 1):
            question = Question(
                self._spec["model"],
                (*self._talk.messages(), *aside),
                self._spec["fit"],
                self._spec["schema"] if final else None,
                tools=tools,
                tool_choice="none" if last or final else "auto",
                round=round_,
            )
            self._context.streams.part("text", PART)
            try:
                return ask_model(self._context, question)
            except PermanentContextTooLong as error:
                if recovery == RECOVERIES or not self._recover(round_, error):
                    raise
        raise AssertionError("unreachable")

    # -- the window --------------------------------------------------------------------

    def _fit(self, round_: int, tools: tuple[ToolSpec, ...]) -> None:
        """Shortens the conversation when it comes near to the model's window."""
        model = self._spec["model"]
        if self._limit is None:
            provider, name = self._context.models.resolve(model)
            window = provider.context_window(name)
            if window is None:
                return
            self._limit = limit_of(window, tools, model)
        self._compactor.fit(round_, self._limit)

    def _recover(self, round_: int, error: PermanentContextTooLong) -> bool:
        """Shortens it by more than we thought was needed; returns whether that was possible."""
        told = error.details.get("window_tokens")
        now = self._talk.tokens()
        limit = min(self._limit or now, now, int(told) if told else now)
        self._limit = limit // 2
        return self._compactor.fit(round_, self._limit)

    # -- tools -------------------------------------------------------------------------

    def _use_tools(self, round_: int, turn: _Turn) -> tuple[Message, ...]:
        """Makes the calls of an answer and returns what the model is told of each."""
        calls = turn.answer.tool_calls
        told = self._results.of(round_, calls, self._spec["max_calls"], fresh=turn.fresh)
        self._invalid = 0 if any(each.made or each.over for each in told) else self._invalid + 1
        # What stopped an agent before must not stop it again when its run is resumed.
        if turn.fresh and self._invalid > INVALID_TOLD:
            raise errors.PermanentToolCallsInvalid(
                f"no call of {self._invalid} answers in a row could be made; "
                f"last: {told[-1].content}"
            )
        more = [self._notice(*each, fresh=turn.fresh) for each in zip(calls, told, strict=True)]
        if turn.dropped:
            more[-1] += (
                f"\n[{turn.dropped:,} more calls of your answer were dropped: an answer may "
                f"have {CALLS_AT_ONCE}.]"
            )
        return tuple(
            Message("tool", each.content + note, tool_call_id=call.id, is_error=each.is_error)
            for call, each, note in zip(calls, told, more, strict=True)
        )

    def _notice(self, call: ToolCall, told: Told, *, fresh: bool) -> str:
        """Returns what the model is told of a failure that it has met too often.

        Raises:
            PermanentToolFailures: It was told, and it makes no difference.
        """
        if not told.is_error:
            return ""
        what = hashlib.sha256(f"{call.name}\0{call.arguments}\0{told.content}".encode(
            "utf-8", "surrogatepass")).hexdigest()  # fmt: skip
        count = self._failures.get(what, 0) + 1
        self._failures[what] = count
        if count < SAME_FAILURE:
            return ""
        noticed = sum(times >= SAME_FAILURE for times in self._failures.values())
        if fresh and (count > SAME_FAILURE or noticed > NOTICES):
            raise errors.PermanentToolFailures(
                f"the tool '{call.name[:100]}' failed {count} times in the same way: "
                f"{told.content[:500]}",
                tool=call.name[:100],
                times=count,
            )
        return (
            f"\n[This call has failed {count} times in the same way. Do not repeat it: do "
            "something else, or answer with what you have.]"
        )

    # -- the end -----------------------------------------------------------------------

    def _result(self, answer: Answer, last: str) -> NodeResult:
        # Each answer is checked before it is noted.
        return NodeResult(result_of(self._context, answer, checked=True), reason=last)

    # -- the journal -------------------------------------------------------------------

    def _note(self, round_: int, turn: _Turn) -> None:
        answer = turn.answer
        entry = {
            "text": answer.text,
            "reason": answer.reason,
            "calls": [asdict(call) for call in answer.tool_calls],
            "dropped": turn.dropped,
            "last": turn.last,
            "streams": self._context.streams.since(self._lengths),
            "usage": self._spent(answer.provider, answer.model),
        }
        self._journal.put(f"{round_:04d}.answer", entry)
        self._lengths = self._context.streams.lengths()

    def _note_compaction(self, round_: int, done: Mapping[str, Any]) -> None:
        provider, name = self._context.models.resolve(self._spec["model"])
        entry = {**done, "usage": self._spent(provider.name, name)}
        self._journal.put(f"{round_:04d}.compact", entry)

    def _spent(self, provider: str, model: str) -> dict[str, Any]:
        """Returns what was used since the last entry."""
        meter, (before, calls) = self._context.meter, self._used
        now = meter.usage
        self._used = (now, meter.model_calls)
        tokens = Usage(
            now.input_tokens - before.input_tokens,
            now.output_tokens - before.output_tokens,
            now.estimated,
            now.cached_tokens - before.cached_tokens,
            now.reasoning_tokens - before.reasoning_tokens,
        )
        spend = meter.by_model.get((provider, model))
        price = spend.each[-1][0] if spend and spend.each else None
        return {
            "tokens": asdict(tokens),
            "calls": meter.model_calls - calls,
            "provider": provider,
            "model": model,
            **({"price": dict(price)} if price else {}),
        }


def _nothing(times: int) -> TransientOutputInvalid:
    what = "the answer is empty"
    return TransientOutputInvalid(f"the model answered nothing, {times} times", problems=[what])


def _identified(answer: Answer, round_: int, last: str) -> _Turn:
    """Returns a turn whose calls have ids of their own, as many as there may be."""
    seen: set[str] = set()
    calls: list[ToolCall] = []
    for index, call in enumerate(answer.tool_calls[:CALLS_AT_ONCE]):
        taken = not call.id or call.id in seen
        named = replace(call, id=f"call_{round_}_{index}") if taken else call
        seen.add(named.id)
        calls.append(named)
    dropped = len(answer.tool_calls) - len(calls)
    return _Turn(replace(answer, tool_calls=tuple(calls)), last, dropped, fresh=True)

"""What a person sees of an agent's rounds and of the tools that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joinery_cli.live.words import seconds
from joinery_cli.output import clean

ARGUMENTS_SHOWN: Final = 200


@dataclass(slots=True)
class Called:
    """A call of a tool; `status` is that of a node."""

    tool: str
    arguments: str = ""
    status: str = "running"
    told: str = ""

    @property
    def line(self) -> str:
        """The call in one line."""
        told = f"  {self.told}" if self.told else ""
        return f"{self.tool}({self.arguments}){told}"


@dataclass(slots=True)
class Rounds:
    """An agent at work.

    Attributes:
        current: Its round; 0 for a node that has none.
        most: How many there may be.
        calls: Its calls by round and place in it, in the order in which they were heard of.
    """

    current: int = 0
    most: int = 0
    calls: dict[tuple[int, int], Called] = field(default_factory=dict)

    @property
    def fact(self) -> str:
        """How far it is, in a few words; `""` where there is nothing to say."""
        if not self.current:
            return ""
        count = len(self.calls)
        calls = f", {count} call{'' if count == 1 else 's'}" if count else ""
        return f"round {self.current} of {self.most}{calls}"

    def hear(self, name: str, data: Mapping[str, Any]) -> str:
        """Takes an event of an agent; returns it as a line, without the agent's name."""
        if name == "agent.round":
            self.current, self.most = int(data["round"]), int(data["max_rounds"])
            why = f" (no more tools: {data['last']})" if "last" in data else ""
            return f"round {self.current} of {self.most}{why}"
        if name == "context.compacted":
            before, after = data["before_tokens"], data["after_tokens"]
            what = f"{data['exchanges']} exchanges summed up" if data["exchanges"] else "shortened"
            return f"{what}: about {before:,} tokens became {after:,}"
        tool = _line(str(data["tool"]))
        call = self.calls.setdefault((data["round"], data["index"]), Called(tool))
        if name == "tool.called":
            call.arguments = _line(str(data["arguments"]))[:ARGUMENTS_SHOWN]
            call.status = "running"
            return f"calls {call.line}"
        took = seconds(data["duration_ms"] / 1000)
        if data["ok"]:
            cut = ", of which a part is told" if data["cut"] else ""
            call.status, call.told = "completed", f"{data['chars']:,} characters in {took}{cut}"
            return f"{tool} gave {call.told}"
        said = data.get("result")
        reason = f": {_line(said)[:ARGUMENTS_SHOWN]}" if isinstance(said, str) else ""
        call.status = "failed"
        call.told = f"{clean(str(data.get('code', 'failed')))} in {took}{reason}"
        return f"{tool} failed: {call.told}"


def _line(text: str) -> str:
    """Returns a text on one line, without what a terminal would obey."""
    return " ".join(clean(text).split())


AGENT_EVENTS: Final = frozenset(
    {"agent.round", "tool.called", "tool.completed", "context.compacted"}
)
"""Events that an agent's `Rounds` are told of."""

SAID: Final = AGENT_EVENTS | {"input.cut"}
"""Events of a node that are told in a line of their own."""

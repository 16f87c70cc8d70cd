"""What a tool is given and what it gives back.

A kind of tools is a module with a function `open_tools` (see `Opener`), named in
`registry.py`. A tool is made anew for each attempt of a node and may keep a connection
for as long as that lasts: what has a `close` is closed at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from joinery.llm.types import ToolSpec

if TYPE_CHECKING:
    from joinery.nodes.base import NodeContext


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool.

    Who calls comes from the run: a tool never takes it from `arguments`, which a model
    wrote.

    Attributes:
        arguments: What the model gave, checked against the tool's parameters, defaults
            filled in.
        key: Names this call in the whole installation: the same whenever it is repeated,
            so an effect outside carries it as its idempotency key. Letters, digits, `_`,
            `-` and `.`; at most 200 characters.
        deadline: `time.monotonic()` by which the call must have ended.
        cancelled: Whether nobody waits for the result any more: polled while it lasts.
        run_id: The run that calls.
        owner: Whose run it is.
        session_id: Its session, where it has one.
        held: Whether the run stands still: it is suspended, and the same call comes again
            when it goes on. What a call has begun is then left as it is, not ended.
    """

    arguments: Mapping[str, Any]
    key: str
    deadline: float
    cancelled: Callable[[], bool]
    run_id: str
    owner: str
    session_id: str | None = None
    held: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave.

    Attributes:
        content: What the model is told, as text; ignored where there is `data`.
        data: The same as JSON-ready data: told as JSON, with long lists shortened.
        is_error: Whether the call failed: the model is told so, and the loop goes on.
        usage: What runs that it began used of models, as a run's `usage` has it.
    """

    content: str = ""
    data: Any = None
    is_error: bool = False
    usage: Mapping[str, Any] | None = None


class Tool(Protocol):
    """Something that a model may call.

    Attributes:
        spec: How the model sees it.
        read_only: Calls change nothing: they run side by side. Others run alone.
        at_most_once: A call that may have happened is not repeated.
        timeout_s: Longest time of a call, in seconds.
    """

    @property
    def spec(self) -> ToolSpec:
        """How the model sees it."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether calls change nothing, so that they may run side by side."""
        ...

    @property
    def at_most_once(self) -> bool:
        """Whether a call that may have happened is not repeated."""
        ...

    @property
    def timeout_s(self) -> float:
        """Longest time of a call, in seconds."""
        ...

    def call(self, use: ToolUse) -> ToolResult:
        """Does what the tool does; called from threads, several at once where it is read-only.

        Raises:
            NodeError: A transient one is tried again under the same key, at most twice;
                in the end the model is told the message as the call's result.
        """
        ...


class Workflows(Protocol):
    """Runs other workflows for tools."""

    def run(self, ref: str, name: str, given: Mapping[str, Any], use: ToolUse) -> ToolResult:
        """Runs a workflow to its end: the same call again finds the same run.

        Args:
            ref: What the run is pinned to: `<workflow_id>/<version>`.
            name: The workflow's name.
            given: Its inputs.
            use: The call; once nobody waits for it, the run is cancelled, unless it is held.

        Raises:
            NodeError: It cannot be run here, or does not take this.
        """
        ...


Opener = Callable[[str, Mapping[str, Any], "NodeContext"], Sequence[Tool]]
"""Makes the tools of one entry of `tools:`: `(name, spec, context)`.

`spec` is what the plan holds of the entry: what every kind says (`kind`, `description`,
`read_only`, `at_most_once`, `timeout_s`), and what this kind needs. Most entries are one
tool of their own name; one that is a server of many gives many.
"""

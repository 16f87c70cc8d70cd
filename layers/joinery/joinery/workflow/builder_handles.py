"""Handles of nodes, their ports, and agents: what edges and nodes are put together from."""

from __future__ import annotations

from typing import Final

from joinery.workflow.builder_values import Expression, Owner, ValueHandle

SELF_DESCRIBING: Final = "say which part: .text, .output, .status, .usage or .error"


class ErrorHandle(ValueHandle):
    """Why a node failed; as the source of an edge, the port `error`."""

    __slots__ = ("id",)

    def __init__(self, owner: Owner, node_id: str) -> None:
        super().__init__(owner, ("nodes", node_id, "error"))
        self.id = node_id


class ItemHandle(ValueHandle):
    """The current item of an iterate node; as the source of an edge, its port `item`."""

    __slots__ = ("id",)

    def __init__(self, owner: Owner, node_id: str) -> None:
        super().__init__(owner, ("nodes", node_id, "item"))
        self.id = node_id


class AnswerHandle:
    """The answer that a check looks at."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def __repr__(self) -> str:
        return "<AnswerHandle>"

    @property
    def text(self) -> ValueHandle:
        """It as text."""
        return ValueHandle(self._owner, ("text",))

    @property
    def output(self) -> ValueHandle:
        """It as data, where the node declares an output."""
        return ValueHandle(self._owner, ("output",))


class Port:
    """One way out of a node; the source of an edge."""

    __slots__ = ("_owner", "id", "port")

    def __init__(self, owner: Owner, node_id: str, port: str) -> None:
        self._owner = owner
        self.id = node_id
        self.port = port

    def __repr__(self) -> str:
        return f"<Port {self.id}.{self.port}>"


class Endpoint:
    """Something that edges join: a node, `start` or `end`."""

    __slots__ = ("_owner", "id")

    def __init__(self, owner: Owner, node_id: str) -> None:
        self._owner = owner
        self.id = node_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __str__(self) -> str:
        raise TypeError(f"'{self.id}' is a node, not a value: {SELF_DESCRIBING}")


class NodeHandle(Endpoint):
    """A node: an end of edges, and the way to its results."""

    __slots__ = ()

    def _value(self, field: str) -> ValueHandle:
        return ValueHandle(self._owner, ("nodes", self.id, field))

    @property
    def text(self) -> ValueHandle:
        """Its result as text."""
        return self._value("text")

    @property
    def output(self) -> ValueHandle:
        """Its result as data."""
        return self._value("output")

    @property
    def usage(self) -> ValueHandle:
        """The tokens it used."""
        return self._value("usage")

    @property
    def status(self) -> ValueHandle:
        """`completed`, `skipped` or `failed`."""
        return self._value("status")

    @property
    def error(self) -> ErrorHandle:
        """Why it failed; also its port `error`, which `on_error="route"` gives it."""
        return ErrorHandle(self._owner, self.id)


class ConditionHandle(NodeHandle):
    """A condition with its ports `true` and `false`."""

    __slots__ = ()

    def on(self, outcome: bool) -> Port:
        """Returns the port that is taken when the condition is this."""
        return Port(self._owner, self.id, "true" if outcome else "false")


class SwitchHandle(NodeHandle):
    """A switch with a port for each case, and `default`."""

    __slots__ = ()

    def case(self, name: str) -> Port:
        """Returns the port of a case."""
        return Port(self._owner, self.id, name)

    @property
    def default(self) -> Port:
        """The port that is taken when no case holds."""
        return Port(self._owner, self.id, "default")


class QuestionHandle(NodeHandle):
    """A question; where an edge uses one of its options, each of them is a port."""

    __slots__ = ()

    def option(self, name: str) -> Port:
        """Returns the port that is taken when this option is the answer."""
        return Port(self._owner, self.id, name)


class LoopHandle(NodeHandle):
    """A loop with its ports `repeat` and `done`."""

    __slots__ = ()

    @property
    def repeat(self) -> Port:
        """The port that leads back to where a round begins."""
        return Port(self._owner, self.id, "repeat")

    @property
    def done(self) -> Port:
        """The port that is taken after the last round."""
        return Port(self._owner, self.id, "done")


class IterateHandle(NodeHandle):
    """An iterate node with its ports `item` and `done`; its `output` is the list of items.

    `item` and `index` are the current item and its place from 0, for the nodes that run for
    each item; `item` is also the port that leads to them.
    """

    __slots__ = ()

    @property
    def item(self) -> ItemHandle:
        """The current item; as the source of an edge, the port `item`."""
        return ItemHandle(self._owner, self.id)

    @property
    def index(self) -> ValueHandle:
        """The place of the current item, from 0."""
        return self._value("index")

    @property
    def done(self) -> Port:
        """The port that is taken when all items have ended."""
        return Port(self._owner, self.id, "done")


class AgentHandle:
    """A persona with its model, for the nodes that speak as it."""

    __slots__ = ("_owner", "name")

    def __init__(self, owner: Owner, name: str) -> None:
        self._owner = owner
        self.name = name

    def __repr__(self) -> str:
        return f"<AgentHandle {self.name}>"


Handle = Expression | Port | Endpoint | AgentHandle


def owner_of(handle: Handle) -> Owner:
    """Returns the workflow that a handle belongs to."""
    return handle._owner

"""Which module runs which type of node that waits; each is imported when it is needed."""

from __future__ import annotations

from joinery.errors import PermanentInternal
from joinery.runs.invocation import Invocation
from joinery.runs.model import NodeRecord


def begin(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Begins what a node waits for that was claimed.

    Returns:
        The node's record: `waiting`, or how it has ended.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    if inv.node.type == "workflow":
        from joinery.runs import children

        return children.begin(inv, record)
    if inv.node.type == "question":
        from joinery.runs import questions

        return questions.begin(inv, record)
    raise PermanentInternal(f"no code runs nodes of type '{inv.node.type}'")


def attach(inv: Invocation, record: NodeRecord) -> NodeRecord:
    """Goes on with a node that waits already: a Task that was tried again has a new token.

    Raises:
        NodeError: The node failed, or is to be tried again.
    """
    if record.wait is not None:
        from joinery.runs import questions

        return questions.attach(inv, record)
    from joinery.runs import children

    return children.attach(inv, record)

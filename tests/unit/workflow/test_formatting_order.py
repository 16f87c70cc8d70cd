"""The order of keys in the one form of workflow files, and of what aliases need."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from kit.formatted import becomes, form

from joinery.workflow import model, model_refs, money, patience, tool_model
from joinery.workflow.formatting import order
from joinery.workflow.formatting.order import Shape
from joinery.workflow.source import load


def test_keys_have_an_order_and_names_keep_theirs() -> None:
    becomes(
        """\
        outputs: {b: 1, a: 2}
        nodes:
          z: {template: hi, type: template}
          a: {max_rounds: 3, unknown: 1, type: loop, until: "{{ true }}", another: 2}
        name: x
        edges: [start -> z -> a]
        version: 1
        mystery: 1
        inputs: {z: {default: {b: 1, a: 2}, type: object}, a: {}}
        """,
        """\
        version: 1
        name: x
        inputs: {z: {type: object, default: {b: 1, a: 2}}, a: {}}

        nodes:
          z: {type: template, template: hi}
          a: {type: loop, until: "{{ true }}", max_rounds: 3, unknown: 1, another: 2}

        edges: [start -> z -> a]
        outputs: {b: 1, a: 2}
        mystery: 1
        """,
    )


def test_schemas_and_data_of_the_author_keep_their_order() -> None:
    text = 'output: {score: {minimum: 0, type: integer}, a: {type: string}}\ntype: llm\nprompt: "?"'
    inside = form("nodes:\n  n:\n" + "".join(f"    {line}\n" for line in text.split("\n")))
    assert "{score: {minimum: 0, type: integer}, a: {type: string}}" in inside
    assert inside.index("type: llm") < inside.index("prompt:") < inside.index("output:")


SHAPES: list[tuple[Shape, type[Any]]] = [
    (order.WORKFLOW, model.Workflow),
    (order.INPUT, model.InputSpec),
    (order.AGENT, model.Agent),
    (order.DEFAULTS, model.Defaults),
    (order.RETRY, model.Retry),
    (order.CHECK, model.Check),
    (order.EDGE, model.Edge),
    (order.MODEL, model_refs.ModelAlias),
    (order.MODEL.parts["timeouts"], patience.ModelTimeouts),
    (order.MODEL.parts["limit"], patience.ModelLimit),
    (order.MODEL.parts["price"], money.PriceSpec),
    (order.BUDGET, money.Budget),
    (order.BREAKER, money.Breaker),
    *(
        (order.NODE.kinds[typing.get_args(kind.model_fields["type"].annotation)[0]], kind)
        for kind in typing.get_args(typing.get_args(model.Node)[0])
    ),
    *((order.TOOL.kinds[kind], made) for kind, made in tool_model.TOOL_CLASSES.items()),
]


@pytest.mark.parametrize(("shape", "part"), SHAPES, ids=[part.__name__ for _, part in SHAPES])
def test_every_key_of_the_model_has_its_place(shape: Shape, part: type[Any]) -> None:
    keys = [field.alias or name for name, field in part.model_fields.items()]
    assert sorted(shape.keys) == sorted(keys)
    assert set(shape.parts) <= set(keys) | set(order.NODE.parts) | set(order.MODEL.parts)


def test_every_type_of_node_and_kind_of_tool_has_its_shape() -> None:
    assert set(order.NODE.kinds) == set(model.NODE_TYPES)
    assert set(order.TOOL.kinds) == set(tool_model.TOOL_KINDS)


def test_an_alias_stays_below_what_it_names() -> None:
    becomes(
        """\
        outputs: &o {a: 1}
        agents: {b: {persona: *p}, a: &a {persona: &p hi}}
        nodes: *o
        version: 1
        """.replace("b: {persona: *p}, ", ""),
        """\
        version: 1
        agents: {a: &a {persona: &p hi}}
        outputs: &o {a: 1}
        nodes: *o
        """,
    )


def test_an_alias_at_another_kind_of_place_keeps_the_order() -> None:
    # Cases of a switch are tried in their order.
    text = """\
        inputs:
          a: &a {required: true, type: string}
          b: &b {required: true, type: string}
          c: *b
        nodes:
          s: {type: switch, cases: *a}
    """
    formatted = form(text)
    assert "a: &a {required: true, type: string}" in formatted
    assert "b: &b {type: string, required: true}" in formatted


def test_an_anchor_that_is_set_twice_keeps_its_place() -> None:
    text = "outputs: [&a 1, *a]\nname: *a\nnodes: {x: &a 2}\ninputs: *a\n"
    assert load(form(text)).data == load(text).data == {
        "outputs": [1, 1], "name": 1, "nodes": {"x": 2}, "inputs": 2,
    }  # fmt: skip


def test_anchors_on_keys_lists_and_items_are_kept() -> None:
    becomes(
        """\
        &k name: &n x
        nodes: &m
            a: &l
            - &i
              b: *n
            - *i
            *k : 1
        """,
        """\
        &k name: &n x

        nodes: &m
          a: &l
            - &i
              b: *n
            - *i
          *k : 1
        """,
    )

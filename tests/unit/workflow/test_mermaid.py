"""Drawings of workflows."""

from __future__ import annotations

import re

from joinery.workflow.mermaid import mermaid
from joinery.workflow.validation import load_workflow

TEXT = r"""
version: 1
name: drawn
agents: {j: {persona: x}}
nodes:
  graph: {type: agent, agent: j, prompt: x, name: 'a "b" <c> | #35; {{d}}'}
  check: {type: condition, if: "{{ nodes.graph.text = 'x' }}"}
  sw: {type: switch, value: "{{ run.id }}", cases: {one: 1}}
  style: {type: template, template: x}
  again: {type: loop, max_rounds: 2}
edges:
  - start -> graph -> check
  - check.true -> style
  - check.false -> sw
  - sw.one, sw.default -> style
  - {from: style, to: again, when: "{{ run.id != '|' }}"}
  - again.repeat -> graph
  - again.done -> end
"""


def test_shapes_labels_and_back_edges() -> None:
    lines = mermaid(load_workflow(TEXT)).splitlines()
    assert lines[0] == "flowchart TD"
    assert '  n_start(["start"])' in lines
    assert '  n_check{"check<br/><small>condition</small>"}' in lines
    assert '  n_sw{"sw<br/><small>switch</small>"}' in lines
    assert '  n_again{{"again<br/><small>loop</small>"}}' in lines
    assert '  n_style["style<br/><small>template</small>"]' in lines
    assert '  n_end(["end"])' in lines
    assert "  n_graph --> n_check" in lines
    assert '  n_check -->|"true"| n_style' in lines
    assert '  n_sw -->|"default"| n_style' in lines
    assert '  n_again -.->|"repeat"| n_graph' in lines
    assert '  n_again -->|"done"| n_end' in lines


def test_text_cannot_break_the_drawing() -> None:
    drawn = mermaid(load_workflow(TEXT))
    (label,) = re.findall(r'n_graph\("(.*)<br/><small>agent</small>"\)', drawn)
    assert label == ("a #34;b#34; #60;c#62; #124; #35;35#59; #123;#123;d#125;#125;")
    assert '  n_style -->|"when run.id #33;#61; #39;#124;#39;"| n_again' in drawn


def test_words_of_mermaid_are_no_ids() -> None:
    ids = re.findall(r"^  (\w+)", mermaid(load_workflow(TEXT)), flags=re.MULTILINE)
    assert all(name.startswith("n_") for name in ids)


def test_statuses_colour_the_nodes() -> None:
    drawn = mermaid(
        load_workflow(TEXT),
        {"graph": "completed", "sw": "completed", "style": "odd", "zz": "failed"},
    )
    assert "  class n_graph,n_sw completed" in drawn
    assert len(re.findall("classDef", drawn)) == 1
    assert "odd" not in drawn
    assert "failed" not in drawn


def test_the_same_workflow_gives_the_same_drawing() -> None:
    assert mermaid(load_workflow(TEXT)) == mermaid(load_workflow(TEXT))

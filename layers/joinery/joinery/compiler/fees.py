"""What the models of a workflow cost: tokens and dollars of a run, before it runs.

The size of a prompt is that of its text and persona, with the inputs as they are where a
run is started, else with sizes that are assumed; what another node says counts as long
as an answer is expected to be. Each node counts with its own model, as often as it is
expected to run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from joinery import limits
from joinery.compiler.chances import visits
from joinery.compiler.plan import MODEL_TYPES, Plan, PlanNode, items_of
from joinery.compiler.times import MOST, USUAL, model_calls_of
from joinery.llm.prices import Prices, dollars
from joinery.llm.registry import provider_of
from joinery.llm.types import Usage
from joinery.llm.window import TOKENS_FOR_REPLY, TOKENS_PER_MESSAGE, estimate_tokens
from joinery.nodes.guard import EXPECTED_OUTPUT_TOKENS, MEDIA_TOKENS
from joinery.workflow.expressions import Template, parse_template, texts_of
from joinery.workflow.paths import Reference

ASSUMED_TEXT_TOKENS: Final = 400
"""Of an input that is a text nobody knows yet: about 1,500 characters."""

ASSUMED_VALUE_TOKENS: Final = 20
"""Of a number, a yes or a no, an item, or what else nobody knows."""

DEPTH: Final = 8
"""So many nodes are looked through behind each other, for what a prompt reads."""

TOOL_RESULT_TOKENS: Final = limits.ASSUMED_RESULT_BYTES // 4
"""What a tool gives an agent, about; it is in the prompt of each round that follows."""

LONG_ANSWER_TOKENS: Final = 4_096
"""What the breaker takes for an answer that no `max_tokens` bounds: a long one is no surge."""

RunCosts = Mapping[str, Any]
"""`{input_tokens, output_tokens, model_calls, usd, bound_tokens, unpriced?}` of a run."""


@dataclass(frozen=True, slots=True)
class Fee:
    """The calls of a node's model by one attempt: one, and of an agent with tools each round's.

    Attributes:
        provider: Who is asked.
        model: The model's name there.
        calls: How many calls it are.
        input_tokens: Of their prompts.
        output_tokens: Of their answers, as expected.
        usd: Dollars; None where nobody knows the price.
        least_usd: Dollars of the prompts alone.
        most_input: Of their prompts where the answers are as long as they may be.
        most_output: Of the longest answers that are reckoned with.
        most_usd: Dollars with those.
    """

    provider: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    least_usd: float | None
    most_input: int
    most_output: int
    most_usd: float | None

    @property
    def bound_tokens(self) -> int:
        """Of prompts and answers where the answers are as long as they may be."""
        return self.most_input + self.most_output


@dataclass(slots=True)
class Fees:
    """Reckons what the calls of a plan's nodes cost.

    Attributes:
        plan: The plan.
        prices: What models cost.
        inputs: The inputs of a run; None where there is no run yet.
        stands_in: The `provider:name` that answers for every node, if one does.
    """

    plan: Plan
    prices: Prices
    inputs: Mapping[str, Any] | None = None
    stands_in: str = ""
    _sizes: dict[str, int] = field(default_factory=dict)

    def of(self, node: PlanNode, case: int = USUAL) -> Fee | None:
        """Returns what an attempt of a node comes to; None where it asks no model.

        Args:
            node: The node.
            case: `LEAST`, `USUAL` or `MOST` rounds of an agent with tools.
        """
        if node.type not in MODEL_TYPES:
            return None
        spec = node.spec
        ref: Mapping[str, Any] = spec["model"]
        provider = provider_of(ref)
        name, own = str(ref.get("name") or "default"), ref.get("price")
        if self.stands_in:
            provider, _, model = self.stands_in.partition(":")
            name, own = model or name, None
        into = self._text(node, spec["prompt"]) + TOKENS_PER_MESSAGE + TOKENS_FOR_REPLY
        if spec.get("system"):
            into += estimate_tokens(spec["system"]) + TOKENS_PER_MESSAGE
        if spec.get("schema"):
            into += estimate_tokens(json.dumps(spec["schema"]))
        into += MEDIA_TOKENS * (len(spec.get("images") or ()) + len(spec.get("files") or ()))
        if spec.get("tools"):
            into += _told_of_tools(spec["tools"])
        out, most = expected_answer(node), int(ref.get("max_tokens") or LONG_ANSWER_TOKENS)
        calls = model_calls_of(node)[case]
        usual, long = _rounds(into, out, calls), _rounds(into, most, calls)
        price = self.prices.find(provider, name, own)

        def usd(rounds: Sequence[int], answer: int) -> float | None:
            if price is None:
                return None
            return dollars(sum(price.pico(Usage(prompt, answer)) for prompt in rounds))

        return Fee(
            provider, name, calls, sum(usual), out * calls, usd(usual, out), usd(usual, 0),
            sum(long), most * calls, usd(long, most),
        )  # fmt: skip

    # -- sizes -------------------------------------------------------------------------

    def _text(self, reader: PlanNode, value: Any, depth: int = 0) -> int:
        """Returns the tokens of a text, or of nested data, with its expressions put in."""
        total = 0
        for text in texts_of(value):
            template: Template = parse_template(text)
            total += sum(estimate_tokens(part) for part in template.parts if isinstance(part, str))
            total += sum(self._read(reader, ref, depth) for ref in template.references)
        return total

    def _read(self, reader: PlanNode, ref: Reference, depth: int) -> int:
        match ref.root:
            case "inputs" if ref.path:
                return self._input(str(ref.path[0]))
            case "nodes" if ref.path:
                return self._said(reader, str(ref.path[0]), depth)
            case "loop" if len(ref.path) > 1 and ref.path[0] == "previous":
                return self._said(reader, str(ref.path[1]), depth)
        return ASSUMED_VALUE_TOKENS

    def _input(self, name: str) -> int:
        spec = self.plan.inputs.get(name, {})
        value = spec.get("default") if self.inputs is None else self.inputs.get(name)
        if value is None and self.inputs is None:
            long = spec.get("type") in ("string", "object", "array")
            return ASSUMED_TEXT_TOKENS if long else ASSUMED_VALUE_TOKENS
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return estimate_tokens(text)

    def _said(self, reader: PlanNode, name: str, depth: int) -> int:
        node = self.plan.by_id.get(name)
        if node is None or depth > DEPTH:
            return ASSUMED_VALUE_TOKENS
        size = self._sizes.get(name)
        if size is None:
            size = self._sizes[name] = self._size(node, depth)
        for each in node.iterates:
            if each not in reader.scope:  # seen from outside, it is all items
                size = round(size * items_of(self.plan, each)[1])
        return size

    def _size(self, node: PlanNode, depth: int) -> int:
        if node.type in MODEL_TYPES:
            return expected_answer(node)
        if node.type in ("template", "transform"):
            return self._text(node, node.spec[_TEXTS[node.type]], depth + 1)
        return ASSUMED_TEXT_TOKENS if node.type in _WORKING else ASSUMED_VALUE_TOKENS


_TEXTS: Final = {"template": "template", "transform": "value"}
_WORKING: Final = frozenset({"workflow", "code", "tool"})


def _rounds(prompt: int, answer: int, calls: int) -> list[int]:
    """Returns the tokens of each round's prompt: what was said and found before is in it."""
    return [prompt + place * (answer + TOOL_RESULT_TOKENS) for place in range(calls)]


def _told_of_tools(tools: Mapping[str, Any]) -> int:
    """Returns the tokens that tell a model of its tools, as far as the plan knows them."""
    total = 0
    for name, entry in tools.items():
        rows = entry.get("operations") or [entry]
        total += sum(
            estimate_tokens(
                f"{name} {row.get('description') or ''} {json.dumps(row.get('schema') or {})}"
            )
            for row in rows
        )
    return total


def expected_answer(node: PlanNode) -> int:
    """Returns the tokens that an answer of a node is expected to have."""
    said = node.spec["model"].get("max_tokens")
    return min(int(said), EXPECTED_OUTPUT_TOKENS) if said else EXPECTED_OUTPUT_TOKENS


def run_fees(fees: Fees, below: Callable[[PlanNode], RunCosts | None]) -> dict[str, Any]:
    """Returns what a run is expected to use, child runs included.

    Args:
        fees: What calls cost.
        below: Returns the same of the child run of a `workflow` node; None for unknown.

    Returns:
        `{input_tokens, output_tokens, model_calls, usd, bound_tokens, unpriced?}`; `usd`
        leaves out what has no price, which `unpriced` names.
    """
    times = visits(fees.plan)
    sums = dict.fromkeys(
        ("input_tokens", "output_tokens", "model_calls", "usd", "bound_tokens"), 0.0
    )
    unpriced: set[str] = set()
    for node in fees.plan.nodes:
        usual = times[node.id]
        costs: RunCosts | None = None
        if node.type == "workflow":
            costs = below(node)
        elif (fee := fees.of(node)) is not None:
            costs = {
                "input_tokens": fee.input_tokens,
                "output_tokens": fee.output_tokens,
                "model_calls": fee.calls,
                "usd": fee.usd or 0.0,
                "bound_tokens": (fees.of(node, MOST) or fee).bound_tokens,
                "unpriced": [] if fee.usd is not None else [f"{fee.provider}:{fee.model}"],
            }
        if costs is None:
            continue
        for name in sums:
            sums[name] += usual * costs[name]
        unpriced.update(costs.get("unpriced") or ())
    shown: dict[str, Any] = {
        "input_tokens": round(sums["input_tokens"]),
        "output_tokens": round(sums["output_tokens"]),
        "model_calls": round(sums["model_calls"], 2),
        "usd": round(sums["usd"], 10),
        "bound_tokens": round(sums["bound_tokens"]),
    }
    return shown | ({"unpriced": sorted(unpriced)} if unpriced else {})

"""Holds the calls of a run's nodes to its budget and to the rules of its breaker.

Before a call its estimate is taken from the ledger, in one conditional write that fails
where it does not fit and where the run was suspended: so no call begins after that, and
branches together never hold more than there is. After the call what it did not need is
given back. Each rule that is broken leads to `suspend`, which does it once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from joinery import limits
from joinery.errors import NotFound, RunCancelled, RunSuspended
from joinery.events.make import make_event
from joinery.llm.types import ToolCall, Usage
from joinery.model_errors import PermanentModelUnpriced
from joinery.nodes.guard import CallEstimate, Reservation
from joinery.runs.idle import waited_s
from joinery.runs.invocation import Invocation
from joinery.runs.ledger import Amount, Count, Hold, Ledger, LedgerRefused
from joinery.runs.model import Address, NodeKey, NodeRecord, RunRecord, path_of
from joinery.runs.novelty import WINDOW, novelty
from joinery.runs.suspend import suspend, suspend_below
from joinery.runs.terms import WARN_SHARE, WINDOW_S, Terms, shown_amount, shown_limit

log = logging.getLogger(__name__)

HOLD_SPARE_S: Final = 60.0
"""A hold is forgotten so long after its node must have ended."""

LOOK_AGAIN_S: Final = 0.25
LOOK_AGAIN_MAX_S: Final = 2.0
"""A call waits so long for others to give back what they do not need."""


class RunGuard:
    """Implements `Guard` for one attempt of a node.

    Args:
        inv: The invocation.
        record: The node's record as it was claimed.
        terms: What the run is held to.
        cancelled: Whether nobody needs the node any more.
        deadline: `time.monotonic()` at which the attempt ends.
        sleep: Waits.
    """

    def __init__(
        self,
        inv: Invocation,
        record: NodeRecord,
        terms: Terms,
        *,
        cancelled: Callable[[], bool],
        deadline: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inv, self._record, self._terms = inv, record, terms
        self._cancelled, self._deadline, self._sleep = cancelled, deadline, sleep
        self._deps = inv.deps
        self._ledgers = inv.deps.store.ledgers
        self._root: RunRecord | None = None
        self._calls = 0
        self._held: Hold | None = None
        self._begun_at = 0.0
        self._said: list[str] = []
        self._look_at = 0.0
        self._late = False

    # -- before ------------------------------------------------------------------------

    def before(self, estimate: CallEstimate) -> Reservation:
        """See `Guard.before`."""
        self._calls += 1
        if not self._terms.needed:
            return Reservation(estimate, self._calls)
        pico = self._pico(estimate, Usage(estimate.prompt_tokens, estimate.output_tokens))
        if pico is None and self._terms.limit.pico is not None:
            raise PermanentModelUnpriced(
                f"nobody knows what {estimate.provider}:{estimate.model} costs, so a budget in "
                "dollars cannot hold it: give the model a price, or the run a budget in tokens",
                model=f"{estimate.provider}:{estimate.model}",
            )
        self._look_before()
        amount = Amount(estimate.prompt_tokens + estimate.output_tokens, pico or 0)
        self._held = self._reserve(amount)
        self._begun_at = time.monotonic()
        return Reservation(estimate, self._calls, amount.tokens, amount.pico, held=True)

    def _pico(self, estimate: CallEstimate, usage: Usage) -> int | None:
        price = self._deps.prices().find(estimate.provider, estimate.model, estimate.price)
        return price.pico(usage) if price else None

    @property
    def _run(self) -> RunRecord:
        """The run that has the ledger."""
        if self._root is None:
            self._root = own = self._inv.run
            if self._terms.ledger != own.run_id:
                with suppress(NotFound):  # it was deleted: the child run is alone now
                    self._root = self._deps.store.get_run(self._terms.ledger)
        return self._root

    @property
    def _key(self) -> str:
        key = self._record.key
        own = f"{key.ord}:{key.path}"
        return own if self._run.run_id == self._inv.run_id else f"{self._inv.run_id}:{own}"

    def _look_before(self) -> None:
        """Looks at the rules that no answer is needed for. Raises: RunSuspended."""
        rules = self._terms.rules
        if rules is None:
            return
        if rules.depth is not None:
            most = rules.depth * self._inv.run.incarnation
            deepest = max(self._rounds(), default=0)
            if deepest > most:
                text = f"a loop would begin its round {deepest}: the breaker allows {most}"
                raise self._tripped("depth", text, deepest, most)
        if rules.wall_s is not None and self._took(rules.wall_s) > rules.wall_s:
            raise self.late()

    def _rounds(self) -> list[int]:
        loops, scope = self._inv.plan.loop_of, self._inv.node.scope
        parts = self._record.key.parts()
        return [part for name, part in zip(scope, parts, strict=False) if name in loops]

    def _reserve(self, amount: Amount) -> Hold:
        left = min(self._deadline - time.monotonic(), float(limits.NODE_TIMEOUT_S))
        until = self._deps.clock() + max(0.0, left) + HOLD_SPARE_S
        hold = Hold(amount, self._record.attempt, self._calls, float(int(until)))
        was, pause, run = self._held, LOOK_AGAIN_S, self._run
        while True:
            try:
                self._ledgers.reserve(run.run_id, run.incarnation, self._key, hold, was=was)
                return hold
            except LedgerRefused as refused:
                ledger = refused.ledger
            if ledger is None:
                self._ledgers.open(run.run_id, self._terms.limit)
                continue
            if ledger.stopped >= run.incarnation:
                raise self._suspended()
            if ledger.holds.get(self._key) != was:
                was = ledger.holds.get(self._key)  # an attempt that died has left it
                continue
            if self._forget(ledger):
                continue
            lately = time.monotonic() + pause >= self._deadline
            if lately or not ledger.limit.holds(ledger.left + ledger.held, amount):
                raise self._exceeded(ledger, amount)
            # Calls under way may give back enough.
            if self._cancelled():
                raise RunCancelled("the run was cancelled while the node waited for its budget")
            if self.out_of_time():
                raise self.late()
            self._sleep(pause)
            pause = min(LOOK_AGAIN_MAX_S, pause * 2)

    def _forget(self, ledger: Ledger) -> bool:
        """Gives back what calls hold whose nodes have ended long ago; returns whether any."""
        run, now = self._run, self._deps.clock()
        old = {key: hold for key, hold in ledger.holds.items() if hold.until < now}
        for key, hold in old.items():
            self._ledgers.forget(run.run_id, run.incarnation, key, hold)
        return bool(old)

    # -- meanwhile ---------------------------------------------------------------------

    def out_of_time(self) -> bool:
        """See `Guard.out_of_time`."""
        rules, now = self._terms.rules, time.monotonic()
        if rules is None or rules.wall_s is None:
            return False
        if not self._late and now >= self._look_at:
            left = rules.wall_s - self._took(rules.wall_s)
            if left < 0 and self._is_paused():
                left = LOOK_AGAIN_MAX_S
            # Whoever begins to wait for somebody meanwhile gives the run more time.
            self._look_at = now + max(left, LOOK_AGAIN_S)
            self._late = left < 0
        return self._late

    def _is_paused(self) -> bool:
        """Whether somebody has paused the run: what is under way may then end."""
        with suppress(NotFound):
            return self._deps.store.get_run(self._run.run_id).status == "paused"
        return False

    def late(self) -> RunSuspended:
        """See `Guard.late`."""
        rules = self._terms.rules
        most = rules.wall_s if rules and rules.wall_s is not None else 0.0
        took = self._took(most)
        text = f"the run takes {took:,.0f} s: the breaker allows {most:,.0f}"
        return self._tripped("wall_time", text, round(took, 3), most)

    def _took(self, allowed: float) -> float:
        """Returns the run's time in seconds, without waits for people where it is too long."""
        run = self._run
        if not (run.resumed_at or run.started_at):
            # A node may begin before it is noted that its run has.
            run = self._root = self._deps.store.get_run(run.run_id)
        began = run.resumed_at or run.started_at
        took = self._deps.clock() - began if began else 0.0
        if took > allowed:
            took -= waited_s(self._deps, self._inv.plan, self._inv.run, began)
        return took

    # -- after -------------------------------------------------------------------------

    def after(
        self,
        reservation: Reservation,
        usage: Usage | None,
        text: str = "",
        tool_calls: Sequence[ToolCall] = (),
    ) -> None:
        """See `Guard.after`."""
        if not reservation.held or self._held is None:
            return
        hold, self._held = self._held, None
        try:
            ledger = self._settle(reservation.estimate, hold, usage or Usage())
            if ledger is not None:
                self._look_after(ledger)
            if text and not tool_calls and not reservation.estimate.formal:
                self._listen(text)
        except Exception:
            # The answer is there and paid for: what it gave must not be lost for this.
            log.exception("a call of run %s was not settled", self._inv.run_id)

    def _settle(self, estimate: CallEstimate, hold: Hold, usage: Usage) -> Ledger | None:
        took = max(time.monotonic() - self._begun_at, 1e-3)
        lately = round(usage.output_tokens * min(1.0, WINDOW_S / took))
        tokens = usage.input_tokens + usage.output_tokens
        count = Count(tokens, lately, int(self._deps.clock() // WINDOW_S))
        used = Amount(tokens, self._pico(estimate, usage) or 0)
        run = self._run
        return self._ledgers.settle(
            run.run_id, run.incarnation, self._key, hold, used=used, count=count
        )

    def _look_after(self, ledger: Ledger) -> None:
        self._warn(ledger)
        rules = self._terms.rules
        if rules is None:
            return
        if rules.token_surge is not None and self._terms.estimate:
            most = rules.token_surge * self._terms.estimate
            if ledger.used > most:
                text = (
                    f"the run has used {ledger.used:,} tokens, more than {rules.token_surge:g} "
                    f"times the estimate of {self._terms.estimate:,}"
                )
                self._tripped("token_surge", text, ledger.used, most, ledger)
                return
        if rules.velocity is not None:
            most, speed = rules.velocity * self._terms.width, self._speed(ledger)
            if speed > most:
                text = f"answers come at {speed:,.0f} tokens/s: the breaker allows {most:,.0f}"
                self._tripped("velocity", text, round(speed, 3), most, ledger)

    def _speed(self, ledger: Ledger) -> float:
        """Returns tokens of answers a second in the last window of time."""
        window, into = divmod(self._deps.clock(), WINDOW_S)
        before = ledger.windows.get(int(window) - 1, 0) * (1 - into / WINDOW_S)
        return (ledger.windows.get(int(window), 0) + before) / WINDOW_S

    def _warn(self, ledger: Ledger) -> None:
        limit, spent = ledger.limit, ledger.spent
        high = (limit.tokens is not None and spent.tokens >= WARN_SHARE * limit.tokens) or (
            limit.pico is not None and spent.pico >= WARN_SHARE * limit.pico
        )
        if high and not ledger.warned and self._ledgers.mark_warned(self._run.run_id):
            run = self._run
            data = {"budget": shown_limit(limit), "used": shown_amount(spent)}
            event = make_event(
                "budget.warning", run.run_id, data, at=self._deps.clock(),
                session_id=run.session_id,
            )  # fmt: skip
            stored = self._deps.store.append(run.run_id, [event])
            self._deps.publisher.publish(run.run_id, stored)

    def _listen(self, text: str) -> None:
        """Looks whether a node's answers still say something new, over rounds and calls."""
        self._said.append(text)
        rules = self._terms.rules
        if rules is None or rules.novelty is None:
            return
        messages = [*self._earlier(), *self._said]
        fresh = novelty(messages)
        if fresh is not None and fresh < rules.novelty:
            shown = (
                f"the last {WINDOW} answers of node '{self._inv.node.id}' say nothing new: "
                f"novelty {fresh:.2f}, the breaker wants {rules.novelty:g}"
            )
            self._tripped("loop", shown, round(fresh, 4), rules.novelty)

    def _earlier(self) -> list[str]:
        """Returns what the node said in the rounds before, since the run was last resumed."""
        inv, node = self._inv, self._inv.node
        parts = self._record.key.parts()
        if not node.scope or node.scope[-1] not in inv.plan.loop_of or parts[-1] < 2:
            return []
        around = NodeKey(self._record.key.ord, path_of(parts[:-1]))
        store = inv.deps.store
        found = store.load(inv.run_id, [Address(around, every=True)]).records
        rounds = sorted(found.values(), key=lambda record: record.key.parts())
        since = inv.run.resumed_at
        texts = [
            str(store.result(inv.run_id, record).get("text", ""))
            for record in rounds
            if record.status == "completed"
            and record.key.parts()[:-1] == parts[:-1]
            and record.key.parts() < parts
            and record.ended_at >= since
        ]
        return [text for text in texts if text]

    # -- suspending --------------------------------------------------------------------

    def _tripped(
        self, reason: str, message: str, value: float, limit: float, ledger: Ledger | None = None
    ) -> RunSuspended:
        """Trips the breaker, once, and returns what a call that was to begin raises."""
        run = self._run
        data: dict[str, Any] = {
            "incarnation": run.incarnation,
            "reason": reason,
            "message": message,
            "value": value,
            "limit": limit,
            "used": {"tokens": ledger.used} if ledger else self._used(),
            **self._where(),
        }
        suspend(self._deps, run, "breaker.tripped", data)
        return self._suspended(message)

    def _used(self) -> dict[str, Any]:
        found = self._ledgers.get(self._run.run_id, self._run.incarnation)
        return {"tokens": found.used if found else 0}

    def _exceeded(self, ledger: Ledger, wanted: Amount) -> RunSuspended:
        run, budget = self._run, shown_limit(ledger.limit)
        short = []
        if ledger.limit.tokens is not None and ledger.left.tokens < wanted.tokens:
            left = max(0, ledger.left.tokens)
            short.append(
                f"a call may take {wanted.tokens:,} tokens, and {left:,} of "
                f"{ledger.limit.tokens:,} are left"
            )
        if ledger.limit.pico is not None and ledger.left.pico < wanted.pico:
            left_usd = shown_amount(ledger.left)["usd"]
            short.append(
                f"a call may cost ${shown_amount(wanted)['usd']:.6f}, and ${left_usd:.6f} of "
                f"${budget['usd']:g} are left"
            )
        message = f"the budget is used up: {'; '.join(short)}"
        data = {
            "incarnation": run.incarnation,
            "message": message,
            "budget": budget,
            "used": shown_amount(ledger.committed),
            "wanted": shown_amount(wanted),
            **self._where(),
        }
        suspend(self._deps, run, "budget.exceeded", data)
        return self._suspended(message)

    def _where(self) -> dict[str, str]:
        return {"node_id": self._inv.node.id, "path": self._inv.path}

    def _suspended(self, message: str = "the run is suspended") -> RunSuspended:
        if self._run.run_id != self._inv.run_id:
            suspend_below(self._deps, self._inv.run, self._run)
        return RunSuspended(message)

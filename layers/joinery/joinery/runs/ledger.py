"""The ledger of a run: what its budget still holds, and what its breaker has counted.

One item, shared by all nodes of a run and by its child runs. A budget is a number that
is left of each limit: a call takes its estimate before it is made and gives back what it
did not need, so nothing can be spent twice however many branches ask at once. What a
call holds is an entry of the same item: taking it is one conditional write.

Amounts in money are whole picodollars, see `joinery.llm.prices`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens and picodollars."""

    tokens: int = 0
    pico: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.tokens + other.tokens, self.pico + other.pico)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.tokens - other.tokens, self.pico - other.pico)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a run may use at most; None is without a limit."""

    tokens: int | None = None
    pico: int | None = None

    def holds(self, left: Amount, wanted: Amount) -> bool:
        """Whether what is left is enough."""
        enough = self.tokens is None or left.tokens >= wanted.tokens
        return enough and (self.pico is None or left.pico >= wanted.pico)


@dataclass(frozen=True, slots=True)
class Hold:
    """What a call has taken and not settled yet.

    Attributes:
        amount: How much.
        attempt: Which attempt of the node makes the call.
        call: Its number in that attempt.
        until: Epoch seconds from which on it counts as forgotten.
    """

    amount: Amount
    attempt: int
    call: int
    until: float


@dataclass(frozen=True, slots=True)
class Count:
    """What the breaker counts of a call.

    Attributes:
        tokens: Of prompt and answer.
        output: Of the answer.
        window: Number of the window of time that it ended in.
    """

    tokens: int
    output: int
    window: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger as it was after a read or a write.

    Attributes:
        limit: The budget; without one, both are None.
        left: What is left of it; below zero of what has no limit: what was used.
        holds: What calls under way have taken, by node.
        warned: Whether the warning was given.
        stopped: The incarnation in which the run was suspended last; 0 for never.
        used: Tokens that the breaker has counted in this incarnation.
        windows: Tokens of answers by window of time, the newest ones.
    """

    limit: Limit = field(default_factory=Limit)
    left: Amount = field(default_factory=Amount)
    holds: Mapping[str, Hold] = field(default_factory=dict)
    warned: bool = False
    stopped: int = 0
    used: int = 0
    windows: Mapping[int, int] = field(default_factory=dict)

    @property
    def committed(self) -> Amount:
        """What was spent, with what is held."""
        return Amount(self.limit.tokens or 0, self.limit.pico or 0) - self.left

    @property
    def held(self) -> Amount:
        """What calls under way have taken."""
        return sum((hold.amount for hold in self.holds.values()), Amount())

    @property
    def spent(self) -> Amount:
        """What calls that have ended have used."""
        return self.committed - self.held


class LedgerRefused(Exception):
    """A call cannot be held now; `ledger` says why: None where there is none."""

    def __init__(self, ledger: Ledger | None) -> None:
        super().__init__("refused")
        self.ledger = ledger


class Ledgers(Protocol):
    """Keeps the ledgers of runs, and what sessions used. Every method is one atomic write.

    `incarnation` is always that of the run whose ledger it is.
    """

    def open(self, run_id: str, limit: Limit) -> None:
        """Makes the ledger of a run with a budget; one that is there stays as it is."""
        ...

    def get(self, run_id: str, incarnation: int) -> Ledger | None:
        """Returns a ledger, strongly consistent; None where there is none."""
        ...

    def reserve(
        self, run_id: str, incarnation: int, key: str, hold: Hold, *, was: Hold | None = None
    ) -> Ledger:
        """Takes from what is left, if that is enough and the run was not suspended.

        Args:
            run_id: Whose ledger.
            incarnation: Its incarnation.
            key: Whose hold.
            hold: What is taken.
            was: The hold that this one takes the place of; None where there must be none.

        Raises:
            LedgerRefused: It is not enough, the run is suspended, or the hold is not `was`.
        """
        ...

    def settle(
        self,
        run_id: str,
        incarnation: int,
        key: str,
        hold: Hold,
        *,
        used: Amount,
        count: Count | None,
    ) -> Ledger | None:
        """Gives back what a call did not need, and counts it; a second time does nothing.

        A hold that a later attempt has taken the place of is not given back: what the call
        used is then taken besides.

        Returns:
            The ledger; None where there was nothing to settle.
        """
        ...

    def forget(self, run_id: str, incarnation: int, key: str, hold: Hold) -> None:
        """Gives back a hold that nobody settles any more; one that has changed stays."""
        ...

    def mark_warned(self, run_id: str) -> bool:
        """Notes that the warning is given; returns whether it was not before."""
        ...

    def set_limit(self, run_id: str, incarnation: int, limit: Limit) -> Ledger:
        """Changes the limits that are named; what was used stays used."""
        ...

    def session(self, owner: str, session_id: str) -> dict[str, Any] | None:
        """Returns the usage of a session; None where nothing was used."""
        ...


def window_names(window: int) -> Sequence[int]:
    """Returns the windows that are kept beside one: itself and the one before."""
    return (window, window - 1)

"""Watches one run from its start to its end, or until the person turns away."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Final

from joinery_cli import exits
from joinery_cli.asking import Asker
from joinery_cli.engines.base import Engine, Feed
from joinery_cli.interrupts import Interrupts
from joinery_cli.live.state import RunState
from joinery_cli.live.views import FRAME_S, View, restore_terminal

PROMPT_S: Final = 3.0
"""How long a second Ctrl-C counts as the answer to the first."""

SUSPENDED_S: Final = 2.0
"""A run is left when it is suspended and nothing was heard of it for so long."""
WAITS_S: Final = 1.0
"""How long nothing but questions must be open before a command without a terminal ends."""

IMPATIENT: Final = 2
"""After this many more, the process ends at once, whatever is still under way."""


@dataclass(slots=True)
class Session:
    """One engine, one view.

    Attributes:
        engine: The run.
        view: What shows it.
        cancellable: Whether a second Ctrl-C cancels the run; the first only detaches.
        patient: Whether the first Ctrl-C waits for a second one; pointless without a terminal
            for a run that dies with the command.
        asker: Asks the person what the run asks; None where nobody is there to ask.
    """

    engine: Engine
    view: View
    cancellable: bool = True
    patient: bool = True
    asker: Asker | None = None
    _waits_since: float = 0.0

    def run(self, state: RunState | None = None) -> RunState:
        """Follows the run; returns its state.

        It has ended unless the person detached, or it waits for an answer and nobody is there.

        Raises:
            JoineryError: The run could not be followed.
        """
        state = state or RunState()
        feed = Feed(self.engine)
        with Interrupts() as interrupts:
            try:
                self._loop(state, feed, _Wish(self, interrupts))
            finally:
                self.view.close()
                feed.stop(wait_s=1.0)
        return state

    def _loop(self, state: RunState, feed: Feed, wish: _Wish) -> None:
        heard_at = time.monotonic()
        while not feed.over:
            for message in feed.get(FRAME_S):
                heard_at = time.monotonic()
                events = state.apply(message)
                self.view.heard(state, message, events)
            now = time.monotonic()
            if state.status == "suspended" and now - heard_at > SUSPENDED_S:
                return  # it waits for somebody to let it go on
            if wish.to_leave(now) or self._is_left(state, now):
                return
            if self.asker is None or not self.asker.ask(state):
                self.view.draw(state)

    def _is_left(self, state: RunState, now: float) -> bool:
        """Whether the run has only waited for a while, for somebody who is not here."""
        if self.asker is not None or not state.waits:
            self._waits_since = 0.0
            return False
        self._waits_since = self._waits_since or now
        return now - self._waits_since >= WAITS_S


class _Wish:
    """What the person wants, from the number of Ctrl-C so far."""

    def __init__(self, session: Session, interrupts: Interrupts) -> None:
        self._session, self._interrupts = session, interrupts
        self._seen = 0
        self._prompted_at = 0.0
        self._cancelled_at = 0

    def to_leave(self, now: float) -> bool:
        """Whether to stop watching now; also says what the next Ctrl-C does."""
        session = self._session
        if self._interrupts.terminated and not self._cancelled_at:
            if session.engine.survives:
                return True
            self._cancel()
            return False
        pressed, self._seen = self._interrupts.count > self._seen, self._interrupts.count
        if self._cancelled_at:
            if self._interrupts.count >= self._cancelled_at + IMPATIENT:
                restore_terminal()
                os._exit(exits.CANCELLED)
            return False
        if not pressed:
            return self._prompt_is_over(now)
        if not session.cancellable:
            return True
        if self._prompted_at or not (session.engine.survives or session.patient):
            self._cancel()
            return False
        self._prompted_at = now
        session.view.notice(
            "the run goes on without this command; Ctrl-C again cancels it"
            if session.engine.survives
            else "the run lives in this command; Ctrl-C again cancels it"
        )
        return False

    def _cancel(self) -> None:
        self._cancelled_at = max(1, self._interrupts.count)
        self._session.view.notice("cancelling …")
        self._session.engine.cancel()

    def _prompt_is_over(self, now: float) -> bool:
        if not self._prompted_at or now - self._prompted_at < PROMPT_S:
            return False
        self._prompted_at = 0.0
        self._session.view.notice("")
        return self._session.engine.survives

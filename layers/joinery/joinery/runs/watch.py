"""Watches a node's run while the node works: cancel, claim, and new subscribers."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from joinery.events.streams import TextStreams
from joinery.runs.deps import CONTROL_POLL_S, LEASE_RENEW_S, LEASE_S, Deps
from joinery.runs.model import Control, NodeKey, NodeRecord
from joinery.runs.ports import ClaimLost


class Watch:
    """Knows whether the node may go on.

    In the background a thread reads the control item once a second; without one,
    the question itself reads it, which is free where the store is in memory.
    """

    def __init__(
        self,
        deps: Deps,
        run_id: str,
        record: NodeRecord,
        control: Control,
        joins: Sequence[NodeKey] = (),
    ) -> None:
        self._joins = joins
        self._deps, self._run_id, self._record = deps, run_id, record
        self._stop = threading.Event()
        self._cancelled = False
        self._paused = control.pause
        self.claim_lost = False
        self.race_lost = False
        self.head = control.head
        self._subs = control.subs
        self._streams: TextStreams | None = None
        self._thread: threading.Thread | None = None

    def start(self, streams: TextStreams) -> None:
        """Begins to watch; new subscribers are sent what `streams` had so far."""
        self._streams = streams
        if self._deps.background:
            self._thread = threading.Thread(target=self._loop, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the watch; call it once the node has ended."""
        self._stop.set()
        if self._thread:
            self._thread.join()
            with suppress(Exception):
                # Whoever came since the last look still gets the text of this node.
                self._look()

    def cancelled(self) -> bool:
        """Returns whether the run was cancelled, the claim was lost or nobody needs the node."""
        if self._thread is None and not (self._cancelled or self.race_lost):
            self._read()
        return self._cancelled or self.claim_lost or self.race_lost

    def paused(self) -> bool:
        """Returns whether the run was paused, as of the last look."""
        if self._thread is None:
            self._read()
        return self._paused

    def _loop(self) -> None:
        renewed = time.monotonic()
        while not self._stop.wait(CONTROL_POLL_S):
            try:
                self._look()
                if time.monotonic() - renewed >= LEASE_RENEW_S:
                    until = self._deps.clock() + LEASE_S
                    record = self._record
                    self._deps.store.renew(self._run_id, record.key, record.attempt, until)
                    renewed = time.monotonic()
            except ClaimLost:
                self.claim_lost = True
                return
            except Exception:
                # A failed look is repeated in a second; the writes that matter are fenced.
                continue

    def _read(self) -> Control:
        """Reads the control item and, in the same call, the joins that decide over the node."""
        if self._joins:
            loaded = self._deps.store.load(self._run_id, [], joins=self._joins)
            control = loaded.control
            self.race_lost = self.race_lost or any(join.over for join in loaded.joins.values())
        else:
            control = self._deps.store.control(self._run_id)
        self._cancelled = self._cancelled or control.stopped
        self._paused = control.pause
        return control

    def _look(self) -> None:
        control = self._read()
        self.head = max(self.head, control.head)
        if control.subs != self._subs:
            self._subs = control.subs
            if self._deps.publisher.refresh(self._run_id, control.subs) and self._streams:
                self._streams.resend()

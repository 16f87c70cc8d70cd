"""How long a client waits for what; the JavaScript client has the same names and numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds.

    Attributes:
        ping_s: A ping goes out when nothing was sent for this long: API Gateway closes a
            socket that was idle for 10 minutes.
        pong_s: A ping with no frame after it by then means that the connection is dead.
        answer_s: A command with no answer by then has failed; a `subscribe` is repeated.
        lifetime_s: A socket is replaced at this age; API Gateway closes it after 2 hours.
        lifetime_jitter_s: Up to this much earlier, so that not all come back at once.
        backoff_s: Longest wait before the first new connection; doubles with each failure.
        backoff_max_s: Longest wait before any new connection.
        slow_open_s: HTTP is asked when there has been no socket for this long.
        behind_s: What is still missing after this time is asked for by HTTP.
        quiet_s: After this long without a frame of a run HTTP is asked: the lost one may
            have been the last. Doubles while there is nothing new.
        quiet_max_s: Longest time between two such questions.
        poll_s: Least time between two questions by HTTP that bring nothing.
        poll_max_s: Longest time between two questions for text by HTTP.
        wait_s: How long the API may hold a question for events, where there is no socket.
        give_up_s: How long the HTTP API may stay away.
        renew_s: An `unauthorized` on a socket older than this leads to a new one, with a
            new token where the caller has one; on a younger one it is final.
    """

    ping_s: float = 240.0
    pong_s: float = 15.0
    answer_s: float = 30.0
    lifetime_s: float = 6600.0
    lifetime_jitter_s: float = 300.0
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    slow_open_s: float = 3.0
    behind_s: float = 1.0
    quiet_s: float = 10.0
    quiet_max_s: float = 60.0
    poll_s: float = 0.5
    poll_max_s: float = 5.0
    wait_s: float = 10.0
    give_up_s: float = 60.0
    renew_s: float = 60.0

    def jittered(self, random: float, failures: int) -> float:
        """Returns how long to wait after so many failures: all of it is jitter."""
        return random * min(self.backoff_max_s, self.backoff_s * float(2 ** min(failures, 16)))

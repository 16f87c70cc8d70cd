"""`/runs/{run_id}/events`: what happens in a run, by long poll or as Server-Sent Events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from joinery.api import answers
from joinery.api.runs import owned_run
from joinery.api.services import Identity, Needs, Services, Viewer
from joinery.api.wire import RESPONSE_BYTES, Answer, StrictRoute
from joinery.errors import Unauthorized
from joinery.identity import tokens
from joinery.identity.passes import issue_pass, set_cookie
from joinery.runs.cursor import CURSOR_CHARS, Cursor
from joinery.runs.stream import Portion, read_portion, wait_for_news
from joinery.strictjson import to_json

router = APIRouter(route_class=StrictRoute, tags=["runs"])

PAGE_BYTES: Final = RESPONSE_BYTES // 2 - 4_096
"""Most bytes of rows in a page: as JSON inside JSON they at most double."""

SEQ_MAX: Final = 9_999_999_999

WAIT_MAX_S: Final = 10
"""Longest wait for news: well below the 30 s of an HTTP API, and of what proxies allow."""

RETRY_MS: Final = 1_000
"""When an EventSource asks again: an HTTP API cannot hold an answer open."""

EVENT_STREAM: Final = "text/event-stream"

Id = Annotated[
    str | None,
    Query(
        max_length=CURSOR_CHARS,
        description="An `id` that a stream gave: its reader goes on behind it, in text as well.",
    ),
]


@router.get(
    "/runs/{run_id}/events",
    summary="Read the events of a run, and its text",
    responses={
        200: {
            "model": answers.EventPage,
            "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
        },
        204: {"description": "An event stream has ended for good: the run has, and all was read."},
        404: {"model": answers.ErrorAnswer},
        409: {"model": answers.ErrorAnswer, "description": "The run has fewer events than that."},
    },
)
def events(
    run_id: str,
    who: Viewer,
    services: Needs,
    *,
    after_seq: Annotated[int, Query(ge=0, le=SEQ_MAX)] = 0,
    last_event_id: Id = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
    wait: Annotated[
        int, Query(ge=0, le=WAIT_MAX_S, description="Most seconds to wait for news.")
    ] = 0,
    text: Annotated[bool, Query(description="Whether JSON brings text as well.")] = False,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    resumed: Annotated[str | None, Header(alias="Last-Event-ID", max_length=CURSOR_CHARS)] = None,
    host: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Returns events behind `after_seq` without a gap, up to one that may still fill.

    The next request's `after_seq` is `next_after_seq`; a client has all there is when
    it equals `head`. With `wait` the answer comes once there is news.

    With `Accept: text/event-stream` the same events and the text come as Server-Sent
    Events: what is stored, and the end; a browser's EventSource asks again by itself.
    """
    if who.via == "pass" and who.run_id != run_id:
        raise Unauthorized("this pass is for the events of another run")
    owned_run(services, who.owner, run_id)
    given = resumed or last_event_id
    cursor = Cursor.parse(given) if given else Cursor.at(after_seq)
    streamed = EVENT_STREAM in accept
    follower = _Follower(services, run_id, cursor, limit, text=text or streamed)
    portion = wait_for_news(
        follower.read, follower.head, wait, clock=time.monotonic, sleep=time.sleep
    )
    if streamed:
        return _streamed(services, who, run_id, portion, host)
    return _page(portion, text=text)


@dataclass(frozen=True, slots=True)
class _Follower:
    """Reads a run from a cursor on, again and again."""

    services: Services
    run_id: str
    cursor: Cursor
    limit: int
    text: bool

    def read(self) -> Portion:
        """Returns what is there now."""
        deps = self.services.run_deps()
        run = deps.store.get_run(self.run_id)
        return read_portion(
            self.services.archive(),
            run,
            self.services.plan(run.plan_ref) if self.text else None,
            self.cursor,
            limit=self.limit,
            most_bytes=PAGE_BYTES,
            now=deps.clock(),
        )

    def head(self) -> int:
        """Returns the highest seq drawn."""
        return self.services.archive().control(self.run_id).head


def _page(portion: Portion, *, text: bool) -> Answer:
    shown = {
        "events": [message for message, _ in portion.messages if "seq" in message],
        "head": portion.head,
        "next_after_seq": portion.cursor.seq,
    }
    if text:
        shown["deltas"] = [message for message, _ in portion.messages if "seq" not in message]
        shown["last_event_id"] = str(portion.cursor)
    return Answer(shown)


def _streamed(
    services: Services, who: Identity, run_id: str, portion: Portion, host: str
) -> Response:
    if portion.finished:
        return Response(status_code=204)
    parts = [b"retry: %d\n\n" % RETRY_MS]
    parts += [
        b"id: %s\ndata: %s\n\n" % (str(cursor).encode(), to_json(message))
        for message, cursor in portion.messages
    ]
    headers = {"Cache-Control": "no-store"}
    if who.via == "ticket":
        # The ticket is used up; the same address is asked again in a second.
        caller = tokens.Caller(who.owner, who.expires_at)
        now = services.run_deps().clock()
        headers["Set-Cookie"] = set_cookie(issue_pass(services.passes(), caller, run_id, now), host)
    return Response(b"".join(parts), media_type=EVENT_STREAM, headers=headers)

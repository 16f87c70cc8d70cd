"""Chromium itself: the client on a page of another origin, and its own EventSource."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kit.browser import Page, opened
from kit.cut_streams import CASSETTE, CUTS, SOURCE, TEXTS, text_once
from kit.people import Person
from kit.proxy import Bad, proxy_of

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.browser]

SCRIPTS = Path(__file__).parents[1] / "js"


def test_the_client_follows_and_steers_from_a_page_of_another_origin(
    stack: LocalStack, tmp_path: Path
) -> None:
    ada = Person(stack, "ada")
    published = ada.call("POST", "/workflows", {"source": SOURCE}).json()
    with proxy_of(stack.websocket_url) as proxy:
        # The socket breaks off at every tenth delta, four times.
        address, way = proxy.add(Bad(cut_delta=10, cuts=4, rough=True))
        given = {
            "baseUrl": stack.http_api_url,
            "wsUrl": address,
            "token": ada.token,
            "workflowId": published["workflow_id"],
            "cassette": CASSETTE,
            "timing": {},
        }
        seen = opened(Page(SCRIPTS / "browser_follow.mjs", given), tmp_path)
    assert way.cut == 4
    stored = ada.call("GET", f"/runs/{seen['first']}/events").json()["events"]
    messages = seen["messages"]
    assert [m["seq"] for m in messages if "seq" in m] == [event["seq"] for event in stored]
    assert messages[-1]["event"] == "run.completed"
    batched = [message for batch in seen["batches"] for message in batch]
    for node, text in TEXTS.items():
        assert text_once(messages, node) == text_once(batched, node) == text
    assert seen["steered"][-1] == "run.cancelled"
    assert seen["refused"] == "not_found"


def test_its_event_source_resumes_by_itself(stack: LocalStack, tmp_path: Path) -> None:
    ada = Person(stack, "ada")
    run_id = ada.start(SOURCE, cassette=CASSETTE)
    path = f"/runs/{run_id}/events?ticket={ada.ticket()}"
    api = stack.http_api_url.removeprefix("http://").partition("/")
    page = Page(
        SCRIPTS / "browser_event_source.mjs",
        {"url": "{origin}" + api[1] + api[2] + path},
        onward=f"http://{api[0]}",
        cuts=CUTS,
    )
    seen = opened(page, tmp_path)
    # Every cut took place, and the address was asked again behind what had arrived.
    assert [asked.status for asked in page.asked[: len(CUTS)]] == [200] * len(CUTS)
    assert page.asked[-1].status == 204
    assert [asked.cookie for asked in page.asked] == [False] + [True] * (len(page.asked) - 1)
    assert any(asked.last for asked in page.asked)
    assert seen["cookie"] == "", "a script may not see it"
    stored = ada.call("GET", f"/runs/{run_id}/events").json()["events"]
    messages = seen["messages"]
    assert [m["seq"] for m in messages if "seq" in m] == [event["seq"] for event in stored]
    for node, text in TEXTS.items():
        assert text_once(messages, node) == text


def test_a_page_of_another_origin_is_not_given_the_cookie(
    stack: LocalStack, tmp_path: Path
) -> None:
    ada = Person(stack, "ada")
    run_id = ada.start(SOURCE, cassette=CASSETTE)
    url = f"{stack.http_api_url}/runs/{run_id}/events?ticket={ada.ticket()}"
    seen = opened(Page(SCRIPTS / "browser_event_source.mjs", {"url": url}), tmp_path)
    # One answer, by the ticket. The next request brings nothing that opens it.
    assert seen["messages"]
    assert seen["messages"][-1]["event"] != "run.completed"

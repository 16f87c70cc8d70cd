"""A browser's EventSource, in Python."""

from __future__ import annotations

import json
from typing import Any

import httpx


class EventSource:
    """A browser's, as the HTML standard has it: one address, a last id, and cookies."""

    def __init__(self, url: str) -> None:
        self.url, self.last = url, ""
        self.cookies = httpx.Cookies()
        self.messages: list[dict[str, Any]] = []
        self.statuses: list[int] = []

    def get(self, url: str, headers: dict[str, str]) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30, cookies=self.cookies) as client:
            answer = client.get(url, headers=headers)
            self.cookies = client.cookies
            return answer

    def ask(self) -> bool:
        """Connects once; False when the standard says to stop."""
        headers = {"Accept": "text/event-stream"}
        if self.last:
            headers["Last-Event-ID"] = self.last
        answer = self.get(self.url, headers)
        self.statuses.append(answer.status_code)
        kind = answer.headers.get("content-type", "")
        if answer.status_code != 200 or not kind.startswith("text/event-stream"):
            return False
        for block in answer.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self.last = fields.get("id", self.last)
            if "data" in fields:
                self.messages.append(json.loads(fields["data"]))
        return True

    def text(self) -> str:
        text = ""
        for message in self.messages:
            if message["event"] == "text.delta":
                assert message["data"]["offset"] == len(text), "a hole or a repeat"
                text += message["data"]["text"]
        return text

"""Calls of operations that an OpenAPI document describes, against a real server."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kit.tool_server import Asked, Told, services, tool_server, use

from joinery.errors import NodeError
from joinery.tool_errors import (
    PermanentToolAddress,
    PermanentToolAnswer,
    PermanentToolSecret,
    TransientToolTimeout,
    TransientToolUnreachable,
)
from joinery.tools import openapi, outbound
from joinery.tools.base import Tool, ToolResult
from joinery.tools.openapi import open_tools
from joinery.tools.services import Secret, ToolServices
from joinery.workflow.openapi import Wanted, read_operations


def document(url: str) -> dict[str, Any]:
    path_id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "servers": [{"url": url + "/v1"}],
        "paths": {
            "/notes": {
                "get": {
                    "operationId": "listNotes",
                    "parameters": [
                        {"name": "tag", "in": "query", "schema": {"type": "array"}},
                        {"name": "open", "in": "query", "schema": {"type": "boolean"}},
                        {"name": "X-Team", "in": "header", "schema": {"type": "string"}},
                        {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                        {"name": "x-key", "in": "header", "schema": {"type": "string"}},
                    ],
                },
                "post": {
                    "operationId": "addNote",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"text": {"type": "string"}},
                                    "required": ["text"],
                                }
                            }
                        },
                    },
                },
            },
            "/notes/{id}": {
                "parameters": [path_id],
                "get": {"operationId": "getNote"},
                "put": {
                    "operationId": "putNote",
                    "requestBody": {
                        "content": {"application/merge-patch+json": {"schema": {"type": "array"}}}
                    },
                },
            },
        },
    }


def tools(url: str, given: ToolServices | None = None, **spec: Any) -> dict[str, Tool]:
    wanted = Wanted("notes", headers=frozenset({"x-key"}))
    operations, flaws = read_operations(document(url), wanted)
    assert not flaws
    entry = {
        "operations": operations, "headers": {"X-Fixed": "1"}, "secret_headers": {},
        "send_identity": False, "at_most_once": False, "timeout_s": 5.0, **spec,
    }  # fmt: skip
    context: Any = SimpleNamespace(tool_services=given or services())
    return {tool.spec.name: tool for tool in open_tools("notes", entry, context)}


def echo(asked: Asked) -> Told:
    return Told(json.dumps({"path": asked.path, "body": asked.body.decode()}))


def test_arguments_go_where_the_document_says() -> None:
    with tool_server(echo) as server:
        made = tools(server.url)
        assert list(made) == ["notes_listNotes", "notes_addNote", "notes_getNote", "notes_putNote"]
        made["notes_listNotes"].call(use({"tag": ["a b", "ü"], "open": True, "X-Team": "red"}))
        made["notes_addNote"].call(use({"text": "hé"}))
        made["notes_putNote"].call(use({"id": "7", "body": [1]}))
    listed, added, put = server.requests
    assert listed.path == "/v1/notes?tag=a+b&tag=%C3%BC&open=true"
    assert (listed.headers["x-team"], listed.headers["x-fixed"]) == ("red", "1")
    assert listed.headers["host"] == server.url.removeprefix("http://")
    assert (added.method, json.loads(added.body)) == ("POST", {"text": "hé"})
    assert added.headers["idempotency-key"] == "run_1.judge.1.1"
    assert "joinery-owner" not in added.headers
    assert (put.path, json.loads(put.body)) == ("/v1/notes/7", [1])
    assert put.headers["content-type"] == "application/merge-patch+json"
    assert [made[name].read_only for name in made] == [True, False, True, False]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("../admin", "/v1/notes/..%2Fadmin"),
        ("..", "/v1/notes/%2E%2E"),
        ("a?b=c#d", "/v1/notes/a%3Fb%3Dc%23d"),
        ("ü 1", "/v1/notes/%C3%BC%201"),
    ],
)
def test_a_value_never_leaves_its_place_in_the_path(value: str, path: str) -> None:
    with tool_server(echo) as server:
        tools(server.url)["notes_getNote"].call(use({"id": value}))
    assert server.requests[0].path == path


def test_who_calls_comes_from_the_run_and_a_secret_from_its_store() -> None:
    with tool_server(echo) as server:
        made = tools(
            server.url, services(notes="Bearer s3cret"),
            send_identity=True, secret_headers={"Authorization": "notes"},
        )  # fmt: skip
        made["notes_listNotes"].call(use({"X-Team": "Joinery-Owner: bob"}))
        refused = made["notes_listNotes"].call(use({"X-Team": "a\r\nAuthorization: x"}))
    headers = server.requests[0].headers
    assert headers["joinery-owner"] == "ada"
    assert headers["joinery-run"] == "run_1"
    assert headers["joinery-session"] == "s1"
    assert headers["authorization"] == "Bearer s3cret"
    assert refused.is_error
    assert len(server.requests) == 1


@pytest.mark.parametrize("media", ["application/json", "text/plain"])
def test_a_secret_that_is_sent_back_is_hidden(media: str) -> None:
    def repeats(asked: Asked) -> Told:
        value = asked.headers["authorization"]
        return Told(json.dumps({"whole": value, "token": value.split()[1]}), media=media)

    with tool_server(repeats) as server:
        made = tools(
            server.url, services(notes='Bearer s3cret"of-notes'),
            secret_headers={"Authorization": "notes"},
        )  # fmt: skip
        result = made["notes_listNotes"].call(use())
    said = result.data or json.loads(result.content)
    assert said == {"whole": "[secret]", "token": "[secret]"}


def test_long_json_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi, "JSON_BYTES", 10)
    for body, told in (("[1, 2, 3]", [1, 2, 3]), ("[1, 2, 3, 4]", None)):
        with tool_server(lambda asked, body=body: Told(body)) as server:  # type: ignore[misc]
            result = tools(server.url)["notes_listNotes"].call(use())
        assert result.data == told
        assert result.content == ("" if told else body)


def test_a_secret_goes_to_its_hosts_only() -> None:
    class Vault:
        def secret(self, name: str) -> Secret | None:
            return Secret("Bearer s3cret", ("api.example.com", "*.example.org"))

        def hint(self, name: str) -> str:
            return "put it there"

    with tool_server(echo) as server:
        made = tools(server.url, ToolServices(Vault(), True), secret_headers={"X-Key": "notes"})
        with pytest.raises(
            PermanentToolSecret, match=r"may not be sent to '127\.0\.0\.1'"
        ) as found:
            made["notes_getNote"].call(use({"id": "1"}))
    assert not server.requests
    assert "s3cret" not in json.dumps(found.value.to_dict())
    secret = Vault().secret("notes")
    assert secret is not None
    assert "s3cret" not in repr(secret)
    goes = [secret.may_go_to(h) for h in ("API.example.com.", "a.b.example.org", "example.org")]
    assert goes == [True, True, False]
    assert not secret.may_go_to("evil-example.org")


@pytest.mark.parametrize("value", ["", "kéy", "a\nb"])
def test_a_secret_that_is_missing_or_odd_is_named(value: str) -> None:
    with pytest.raises(PermanentToolSecret, match="'notes'") as found:
        services(notes=value).secret_for("notes", "example.com")
    if not value:
        assert "JOINERY_SECRET_NOTES" in found.value.message


BIG = json.dumps({"rows": ["x" * 1_000] * 5_000})


@pytest.mark.parametrize(
    ("told", "result"),
    [
        (Told('{"a": [1]}'), ToolResult(data={"a": [1]})),
        (Told("hé", media="text/plain; charset=utf-8"), ToolResult("hé")),
        (Told(b"h\xe9", media="text/plain; charset=latin-1"), ToolResult("hé")),
        (Told(b"\xff", media="text/plain; charset=klingon"), ToolResult("\ufffd")),
        (Told(b"", status=204), ToolResult("HTTP 204, without content")),
        (Told(BIG), ToolResult(data=json.loads(BIG))),
        (Told(b"\x89PNG", media="image/png"),
         ToolResult("HTTP 200: 4 bytes of image/png, which is no text")),
        (Told('{"error": "no"}', status=404),
         ToolResult(data={"status": 404, "body": {"error": "no"}}, is_error=True)),
        (Told("gone", status=410, media="text/html"), ToolResult("HTTP 410: gone", is_error=True)),
        (Told(b"", status=401), ToolResult("HTTP 401, without content", is_error=True)),
        (Told("", status=302, headers={"location": "http://169.254.169.254/"}),
         ToolResult("HTTP 302: redirects are not followed", is_error=True)),
    ],
)  # fmt: skip
def test_what_the_model_is_told(told: Told, result: ToolResult) -> None:
    with tool_server(lambda _: told) as server:
        assert tools(server.url)["notes_getNote"].call(use({"id": "1"})) == result
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (Told("{not json"), PermanentToolAnswer),
        (Told("[" * 100_000), PermanentToolAnswer),
        (Told("no gzip at all", headers={"content-encoding": "gzip"}), PermanentToolAnswer),
        (Told("slow down", status=429), TransientToolUnreachable),
        (Told("later", status=503), TransientToolUnreachable),
        (Told(hang_up=True), TransientToolUnreachable),
        (Told(wait_s=5), TransientToolTimeout),
    ],
)
def test_what_ends_a_call(told: Told, error: type[NodeError]) -> None:
    with tool_server(lambda _: told) as server:
        begun = time.monotonic()
        with pytest.raises(error):
            tools(server.url, timeout_s=0.5)["notes_getNote"].call(use({"id": "1"}))
        assert time.monotonic() - begun < 3


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "ANSWER_BYTES", 10_000)
    with (
        tool_server(lambda _: Told("x" * 20_000, media="text/plain")) as server,
        pytest.raises(PermanentToolAnswer, match="more than 10,000 bytes"),
    ):
        tools(server.url)["notes_getNote"].call(use({"id": "1"}))


def test_this_machine_is_out_of_reach_on_aws() -> None:
    with tool_server(echo) as server, pytest.raises(PermanentToolAddress):
        tools(server.url, services(private=False))["notes_getNote"].call(use({"id": "1"}))
    assert not server.requests


def test_a_server_that_is_gone_is_named() -> None:
    with tool_server(echo) as server:
        url = server.url
    with pytest.raises(TransientToolUnreachable, match=r"127\.0\.0\.1"):
        tools(url)["notes_getNote"].call(use({"id": "1"}))

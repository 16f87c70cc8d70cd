"""What is read of OpenAPI documents, and what is wrong with them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from joinery.workflow.openapi import OPERATIONS_MAX, Wanted, read_operations
from joinery.workflow.openapi_schemas import Broken, inlined


def of(paths: Any, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "servers": [{"url": "https://a.example"}], "paths": paths, **more}


def flaws(data: dict[str, Any], **wanted: Any) -> list[str]:
    return [flaw.message for flaw in read_operations(data, Wanted("t", **wanted))[1]]


def one(operation: dict[str, Any], path: str = "/x", **more: Any) -> dict[str, Any]:
    found, wrong = read_operations(of({path: {"post": operation}}, **more), Wanted("t"))
    assert not wrong
    return found[0]


def test_schemas_become_plain_json_schema() -> None:
    components = {
        "schemas": {
            "Pet": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "nullable": True, "example": "Rex", "x-order": 1},
                    "age": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                    "friend": {"$ref": "#/components/schemas/Pet"},
                    "nullable": {"type": "boolean"},
                },
                "required": ["name"],
            }
        }
    }
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}}
    made = one({"requestBody": {**body, "required": True}}, components=components)
    assert made["schema"]["required"] == ["name"]
    assert made["schema"]["properties"] == {
        "name": {"type": ["string", "null"]},
        "age": {"type": "integer", "exclusiveMinimum": 0},
        "friend": {"description": "the same again"},
        "nullable": {"type": "boolean"},
    }
    assert made["body"] == {
        "media": "application/json", "whole": False, "names": ["name", "age", "friend", "nullable"],
    }  # fmt: skip
    whole = one({"requestBody": body}, components=components)
    assert whole["body"] == {"media": "application/json", "whole": True, "names": []}
    assert whole["schema"]["required"] == []


def test_names_and_descriptions_are_those_that_providers_take() -> None:
    made = one({"operationId": "pets.list/all é", "summary": "Lists.", "description": "x" * 5_000})
    assert made["name"] == "t_pets_list_all__"
    assert len(made["description"]) == 1_024
    assert one({}, "/pets/search")["name"] == "t_post_pets_search"
    assert one({"operationId": "o" * 100})["name"] == "t_" + "o" * 62


def test_servers_and_their_variables() -> None:
    servers = [{"url": "https://{region}.example/v{n}",
                "variables": {"region": {"default": "eu"}, "n": {"default": "2"}}}]  # fmt: skip
    assert one({}, servers=servers)["url"] == "https://eu.example/v2/x"
    found, _ = read_operations(of({"/x": {"get": {}}}), Wanted("t", server="http://b.example/"))
    assert found[0]["url"] == "http://b.example/x"


def test_a_parameter_of_the_operation_replaces_that_of_its_path() -> None:
    here = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    query = {"name": "id", "in": "query", "schema": {"type": "string"}}
    path = {"parameters": [{**here, "schema": {}}], "get": {"parameters": [here, query]}}
    [made], wrong = read_operations(of({"/x/{id}": path}), Wanted("t"))
    assert not wrong
    assert made["schema"]["properties"] == {
        "id": {"type": "integer"},
        "id_query": {"type": "string"},
    }
    assert made["parameters"] == {
        "id": {"name": "id", "in": "path"}, "id_query": {"name": "id", "in": "query"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"swagger": "2.0", "paths": {}}, "not of OpenAPI 3"),
        ({}, "not of OpenAPI 3"),
        (of({}), "has no operations"),
        (of(None), "has no operations"),
        (of({"/x": {"get": {}}}, servers=[{"url": "/v1"}]), "where the API is"),
        (of({"/x": {"get": {}}}, servers=None), "where the API is"),
        (of({"/x": {"get": {"operationId": "a"}, "put": {"operationId": "a"}}}), "are called 'a'"),
        (of({"/x": {"get": {"operationId": "a b"}, "put": {"operationId": "a_b"}}}), "same name"),
        (of({"/x/{id}": {"get": {}}}), "nothing describes 'id'"),
        (of({"/x": {"get": {"parameters": [{"name": "s", "in": "cookie", "required": True}]}}}),
         "cookie"),
        (of({"/x": {"get": {"parameters": [{"in": "query"}]}}}), "no 'name'"),
        (of({"/x": {"get": {"parameters": [
            {"name": "q", "in": "query", "required": True, "style": "deepObject",
             "schema": {"type": "object"}}]}}}), "written in a way"),
        (of({"/x": {"get": {"parameters": [{"$ref": "#/components/parameters/none"}]}}}),
         "not there"),
        (of({"/x": {"get": {"parameters": [{"$ref": "other.yaml#/x"}]}}}), "outside"),
        (of({"/x": {"post": {"requestBody": {"required": True, "content": {
            "multipart/form-data": {"schema": {}}}}}}}), "neither JSON nor a form"),
        (of({"/x": {"post": {"requestBody": {"required": True, "content": {
            "application/json": {"schema": {"type": "strnig"}}}}}}}), "a schema is none"),
        (of({"/x": {"post": {"requestBody": {"required": True, "content": {
            "application/json": {"schema": "text"}}}}}}), "neither an object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(data: dict[str, Any], message: str) -> None:
    assert any(message in flaw for flaw in flaws(data))


def test_all_that_is_wrong_comes_at_once_and_names_the_operation() -> None:
    found = flaws(
        of({"/x/{a}": {"get": {"operationId": "one"}}, "/y/{b}": {"get": {"operationId": "two"}}}),
        operations=["one", "two", "tow"],
    )
    assert [text.partition(":")[0] for text in found] == [
        "the document has no operation 'tow'", "operation 'one'", "operation 'two'",
    ]  # fmt: skip


def test_too_many_operations_are_to_be_chosen_from() -> None:
    data = of({f"/x{n}": {"get": {"operationId": f"o{n}"}} for n in range(OPERATIONS_MAX + 1)})
    assert "a tool takes 100" in flaws(data)[0]
    assert flaws(data, operations=["o1", "o7"]) == []


def test_schemas_that_never_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"items": deep}
    with pytest.raises(Broken, match="too many parts"):
        inlined({}, deep)
    # Each refers to the next twice: small to write, endless to read.
    names = [f"s{n}" for n in range(20)]
    data = {
        name: {"properties": {"a": {"$ref": f"#/{following}"}, "b": {"$ref": f"#/{following}"}}}
        for name, following in pairwise(names)
    }
    with pytest.raises(Broken, match="too many parts"):
        inlined({**data, names[-1]: {"type": "string"}}, {"$ref": "#/s0"})
    with pytest.raises(Broken, match="bytes"):
        inlined({}, {"enum": ["x" * 70_000]})

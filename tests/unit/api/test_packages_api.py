"""Packages over HTTP: offered, sent, and named by what is published with them."""

from __future__ import annotations

from typing import Any

import pytest
from kit.installation import Api

from joinery import limits
from joinery.packages.model import object_key
from joinery.packages.target import PackageTarget

SHA = "a" * 64
OTHER = "b" * 64


def source(
    name: str = "greets", code: str = "import humanize\ndef t(): return 1"
) -> dict[str, Any]:
    return {
        "version": 1,
        "name": name,
        "tools": {"t": {"code": code, "requirements": ["Humanize >= 4"]}},
        "nodes": {
            "a": {"type": "tool", "tool": "t"},
            "b": {"type": "code", "code": "import yaml\ndef main(): return 1",
                  "requirements": ["pyyaml"]},
        },
        "edges": ["start -> a -> b -> end"],
    }  # fmt: skip


def package(sha256: str, *requirements: str, **more: Any) -> dict[str, Any]:
    return {"requirements": list(requirements), "sha256": sha256, "bytes": 100, **more}


HUMANIZE = package(SHA, "humanize>=4", resolved=["humanize==4.12.0"], modules=["humanize"])
YAML = package(OTHER, "PyYAML")


def store(server: Api, owner: str, *names: str) -> None:
    for sha256 in names:
        server.installation.kept.stored[object_key(owner, sha256)] = 100


def codes(reply: Any) -> list[tuple[str, str]]:
    assert reply.status == 422, reply.raw
    return [(row["code"], row["pointer"]) for row in reply.error["details"]["errors"]]


def test_the_target_is_that_of_the_function(server: Api) -> None:
    assert server.get("/packages/target").body == PackageTarget.here().to_dict()
    assert server.get("/packages/target", owner=None).status == 401


def test_a_package_is_offered_before_it_is_sent(server: Api) -> None:
    offer = {"sha256": SHA, "bytes": 100}
    reply = server.post("/packages", offer)
    assert (reply.status, reply.body["stored"]) == (200, False)
    upload = reply.body["upload"]
    assert upload["url"].endswith(object_key("me", SHA))
    assert (upload["method"], upload["headers"]) == ("PUT", {"content-length": "100"})
    store(server, "me", SHA)
    assert server.post("/packages", offer).body == {**offer, "stored": True, "upload": None}
    # Another size is another thing, and what one has the other does not.
    assert not server.post("/packages", {**offer, "bytes": 99}).body["stored"]
    assert not server.post("/packages", offer, owner="you").body["stored"]
    assert server.post("/packages", offer, owner=None).status == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sha256": SHA},
        {"sha256": "A" * 64, "bytes": 1},
        {"sha256": "../" + SHA[3:], "bytes": 1},
        {"sha256": SHA + "\n", "bytes": 1},
        {"sha256": SHA, "bytes": 0},
        {"sha256": SHA, "bytes": limits.PACKAGE_ZIP_BYTES + 1},
        {"sha256": SHA, "bytes": 1, "owner": "you"},
    ],
)
def test_offers_that_are_refused(server: Api, body: Any) -> None:
    assert server.post("/packages", body).status == 400


def test_a_version_says_what_it_runs(server: Api) -> None:
    store(server, "me", SHA, OTHER)
    body = {"source": source(), "packages": [HUMANIZE, YAML, package("c" * 64, "unused")]}
    reply = server.post("/workflows", body)
    assert reply.status == 201, reply.raw
    detail = server.get(f"/workflows/{reply.body['workflow_id']}").body
    found = {row["sha256"]: row for row in detail["packages"]}
    assert found[SHA] == {
        "requirements": ["humanize>=4"], "sha256": SHA, "bytes": 100,
        "resolved": ["humanize==4.12.0"], "modules": ["humanize"],
    }  # fmt: skip
    assert found[OTHER]["requirements"] == ["pyyaml"]
    assert len(found) == 2
    assert server.post("/workflows", body).status == 200
    # Other bytes are another version.
    store(server, "me", "d" * 64)
    body["packages"] = [HUMANIZE, {**YAML, "sha256": "d" * 64}]
    assert server.post("/workflows", body).body["version"] == 2


def test_nothing_is_published_without_its_packages(server: Api) -> None:
    reply = server.post("/workflows", {"source": source()})
    assert codes(reply) == [
        ("requirement.not_built", "/tools/t/requirements"),
        ("requirement.not_built", "/nodes/b/requirements"),
    ]
    assert {row["node_id"] for row in reply.error["details"]["errors"]} == {None, "b"}
    store(server, "you", SHA, OTHER)
    reply = server.post("/workflows", {"source": source(), "packages": [HUMANIZE, YAML]})
    assert codes(reply) == [
        ("requirement.not_stored", "/tools/t/requirements"),
        ("requirement.not_stored", "/nodes/b/requirements"),
    ]
    assert server.installation.workflows.versions == {}
    assert server.installation.makes.made == {}


def test_imports_are_held_to_what_the_packages_have(server: Api) -> None:
    store(server, "me", SHA, OTHER)
    wrong = source(code="import humanise\ndef t(): return 1")
    reply = server.post("/workflows", {"source": wrong, "packages": [HUMANIZE, YAML]})
    assert codes(reply) == [("code.import", "/tools/t/code")]
    assert "did you mean 'humanize'?" in reply.error["details"]["errors"][0]["hint"]


@pytest.mark.parametrize(
    "more",
    [
        {"requirements": ["no requirement"]},
        {"requirements": []},
        {"requirements": ["x" * 201]},
        {"resolved": ["x"] * 201},
        {"sha256": "x"},
        {"owner": "you"},
    ],
)
def test_packages_that_are_none(server: Api, more: Any) -> None:
    store(server, "me", SHA, OTHER)
    reply = server.post("/workflows", {"source": source(), "packages": [{**HUMANIZE, **more}]})
    assert reply.status == 400

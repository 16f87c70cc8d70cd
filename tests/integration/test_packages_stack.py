"""Packages on the local stack: built here, sent to the bucket, fetched where the code runs."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kit.people import Person
from kit.wheels import greeter, only_from

from joinery.client import AsyncClient, Client
from joinery.errors import InvalidWorkflow
from joinery.packages.model import object_key

if TYPE_CHECKING:
    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

GREET = "from greeter import hello\ndef greet(who):\n    return hello(who)"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("packages")
    greeter(folder / "wheels")
    with pytest.MonkeyPatch.context() as patch:
        only_from(folder / "wheels", folder / "home", patch)
        yield folder


@pytest.fixture(scope="module")
def ada(stack: LocalStack) -> Person:
    return Person(stack, f"ada-{uuid.uuid4().hex[:6]}")


@pytest.fixture(scope="module")
def bob(stack: LocalStack) -> Person:
    return Person(stack, f"bob-{uuid.uuid4().hex[:6]}")


def client_of(person: Person) -> Client:
    return Client(person.stack.http_api_url, person.stack.websocket_url, person.token)


def workflow(**more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "greets",
        "tools": {
            "greet": {
                "description": "Greets somebody.",
                "requirements": ["greeter"],
                "parameters": {"who": {"type": "string"}},
                "code": GREET,
            }
        },
        "nodes": {"a": {"type": "tool", "tool": "greet", "arguments": {"who": "Ada"}}},
        "edges": ["start -> a -> end"],
        "outputs": {"text": "{{ nodes.a.text }}"},
        **more,
    }


def ended(client: Client, run_id: str) -> dict[str, Any]:
    for _ in client.follow(run_id):
        pass
    return client.get(run_id)


def test_a_tool_and_an_agent_use_what_was_published_with_them(ada: Person, built: Path) -> None:
    agent = {
        "agents": {"host": {"persona": "You greet.", "tools": ["greet"]}},
        "nodes": {
            "a": {"type": "tool", "tool": "greet", "arguments": {"who": "Ada"}},
            "b": {"type": "agent", "agent": "host", "prompt": "Greet Bob."},
        },
        "edges": ["start -> a -> b -> end"],
        "outputs": {"a": "{{ nodes.a.text }}", "b": "{{ nodes.b.text }}"},
    }
    cassette = [
        {"node": "b", "call": 1, "text": "", "tool_calls": [
            {"name": "greet", "arguments": {"who": "Bob"}}]},
        {"node": "b", "call": 2, "text": "He was greeted."},
    ]  # fmt: skip
    told: list[str] = []
    with client_of(ada) as client:
        published = client.publish_with_packages(workflow(**agent), tell=told.append)
        run_id = client.start(published["workflow_id"], {}, cassette=cassette)["run_id"]
        view = ended(client, run_id)
        [called] = [e["data"] for e in client.events(run_id) if e["event"] == "tool.completed"]
        detail = client.workflow(published["workflow_id"])
        again = client.publish_with_packages(workflow(**agent), tell=told.append)
    assert view["outputs"] == {"a": "Hello, Ada!", "b": "He was greeted."}, view.get("error")
    assert (called["ok"], called["chars"]) == (True, len("Hello, Bob!"))
    # The version says what it runs, and publishing it again builds and sends nothing.
    [package] = detail["packages"]
    assert package["requirements"] == ["greeter"]
    assert package["resolved"] == ["greeter==1.0", "manners==1.2"]
    assert again["version"] == published["version"]
    assert [line.split()[0] for line in told] == ["building", "sending"]


def test_a_package_that_is_not_there_is_refused(ada: Person, bob: Person, built: Path) -> None:
    with client_of(ada) as client:
        client.publish_with_packages(workflow(name="mine"))
        [package] = client.workflow(client.workflows()[0]["workflow_id"])["packages"]
    # Bob knows what Ada has, and nothing is his for that.
    for who, packages, code in (
        (bob, [package], "requirement.not_stored"),
        (ada, [{**package, "sha256": "0" * 64}], "requirement.not_stored"),
        (ada, [{**package, "bytes": 5}], "requirement.not_stored"),
        (ada, [], "requirement.not_built"),
    ):
        with client_of(who) as client, pytest.raises(InvalidWorkflow) as refused:
            client.publish(workflow(name="theirs"), packages=packages)
        [problem] = refused.value.details["errors"]
        assert (problem["code"], problem["pointer"]) == (code, "/tools/greet/requirements")
    with client_of(bob) as client:
        assert not client.offer_package(package["sha256"], package["bytes"])["stored"]
        assert client.workflows() == []


def test_nothing_else_is_stored_under_a_name(ada: Person, stack: LocalStack) -> None:
    body = uuid.uuid4().bytes
    sha256 = hashlib.sha256(body).hexdigest()
    with client_of(ada) as client:
        upload = client.offer_package(sha256, len(body))["upload"]
        forged = httpx.put(upload["url"], content=b"y" * 16, headers=upload["headers"])
        assert forged.status_code == 400
        assert not client.offer_package(sha256, len(body))["stored"]
        assert httpx.put(upload["url"], content=body, headers=upload["headers"]).is_success
        assert client.offer_package(sha256, len(body)) == {
            "sha256": sha256, "bytes": 16, "stored": True, "upload": None,
        }  # fmt: skip


def test_a_package_that_was_changed_in_the_bucket_does_not_run(
    ada: Person, stack: LocalStack, built: Path
) -> None:
    greeter(built / "wheels", "0.9")  # which no worker has unpacked yet
    source = workflow(name="changed")
    source["tools"]["greet"]["requirements"] = ["greeter<1"]
    with client_of(ada) as client:
        published = client.publish_with_packages(source)
        [package] = client.workflow(published["workflow_id"])["packages"]
        bucket, key = stack.outputs["BucketName"], object_key(ada.owner, package["sha256"])
        s3 = stack.client("s3")
        held = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key=key, Body=bytes(len(held)))
        view = ended(client, client.start(published["workflow_id"], {})["run_id"])
        assert (view["status"], view["error"]["code"]) == ("failed", "code.package")
        assert "hash" in view["error"]["message"]
        assert "X-Amz" not in str(view)
        s3.delete_object(Bucket=bucket, Key=key)
        view = ended(client, client.start(published["workflow_id"], {})["run_id"])
        assert view["error"]["code"] == "code.package"


async def _published(person: Person, source: dict[str, Any]) -> dict[str, Any]:
    async with AsyncClient(person.stack.http_api_url, token=person.token) as client:
        return await client.publish_with_packages(source)


def test_the_client_for_asyncio_does_the_same(ada: Person, built: Path) -> None:
    import asyncio

    published = asyncio.run(_published(ada, workflow(name="awaited")))
    with client_of(ada) as client:
        view = ended(client, client.start(published["workflow_id"], {})["run_id"])
    assert view["outputs"] == {"text": "Hello, Ada!"}

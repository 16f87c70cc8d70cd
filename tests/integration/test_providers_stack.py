"""Providers on the local stack: keys that AWS keeps, Bedrock by the rights of the function."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from kit.model_server import Answer, ModelServer, model_server
from kit.people import Person

from joinery.llm.prices import known_prices
from joinery.llm.types import Usage
from joinery_cli import local
from joinery_cli.local.emulator import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from joinery_cli.local import LocalStack

pytestmark = pytest.mark.stack

PATH = "/joinery/test/models"
NOVA, NOBODYS = "amazon.nova-micro-v1:0", "nova-of-nobody"
BEDROCK = ",".join(f"arn:aws:bedrock:{REGION}::foundation-model/{m}" for m in (NOVA, NOBODYS))


@dataclass
class Gate:
    """A server that answers who comes with the right key, and shows the wrong ones."""

    text: str
    key: str = field(default_factory=lambda: f"sk-{uuid.uuid4().hex}")

    def __call__(self, answer: Answer) -> None:
        given = answer.headers.get("authorization", "")
        if given != f"Bearer {self.key}":
            message = f"Incorrect API key provided: {given.removeprefix('Bearer ')}"
            answer.send(401, {"error": {"message": message, "code": "invalid_api_key"}})
        elif answer.body is None:
            answer.send(404, {})
        else:
            answer.begin()
            answer.chunk(self.text)
            answer.chunk(finish_reason="stop")
            answer.usage(5, 4)
            answer.done()


@dataclass
class Providers:
    """DeepSeek, whose key is in a secret, and OpenRouter, whose key is a parameter."""

    stack: LocalStack
    gates: tuple[Gate, Gate]
    servers: tuple[ModelServer, ModelServer]
    secret: str
    put: list[str] = field(default_factory=list)

    def put_secret(self, key: str) -> None:
        told = json.dumps({"DeepSeek": key})
        self.put.append(key)
        self.stack.client("secretsmanager").put_secret_value(
            SecretId=self.secret, SecretString=told
        )

    def put_parameter(self, key: str) -> None:
        self.put.append(key)
        self.stack.client("ssm").put_parameter(
            Name=f"{PATH}/openrouter", Value=key, Type="SecureString", Overwrite=True
        )

    def asked(self) -> list[str]:
        """The keys that came with questions to the first server."""
        return [r.headers.get("authorization", "") for r in self.servers[0].requests if r.body]


@pytest.fixture(scope="module")
def providers(stack: LocalStack) -> Iterator[Providers]:
    gates = (Gate("Hello from the first."), Gate("Hello from the second."))
    name = f"joinery/test/{uuid.uuid4().hex[:8]}"
    secret = stack.client("secretsmanager").create_secret(Name=name, SecretString="{}")["ARN"]
    with model_server(gates[0]) as one, model_server(gates[1]) as two:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JOINERY_MODEL_BASE_URLS", f"deepseek={one.url},openrouter={two.url}")
            patch.setenv("JOINERY_MODEL_KEYS_SECRET", secret)
            patch.setenv("JOINERY_MODEL_KEYS_PATH", PATH)
            patch.setenv("JOINERY_BEDROCK_MODELS", BEDROCK)
            local.up(lambda *_: None, model=False, home=stack.home)
        made = Providers(stack, gates, (one, two), secret)
        made.put_secret(gates[0].key)
        made.put_parameter(gates[1].key)
        yield made
    local.up(lambda *_: None, model=False, home=stack.home)


@pytest.fixture(scope="module")
def ada(providers: Providers) -> Person:
    return Person(providers.stack, f"ada-{uuid.uuid4().hex[:6]}")


def run(person: Person, **models: tuple[str, str]) -> dict[str, Any]:
    """Runs a workflow whose nodes ask these models, one after the other."""
    nodes = {
        node: {"type": "llm", "prompt": "Hello", "model": {"provider": provider, "name": name}}
        for node, (provider, name) in models.items()
    }
    source = {
        "version": 1, "name": "providers", "nodes": nodes,
        "edges": [" -> ".join(("start", *nodes, "end"))],
        "outputs": {name: f"{{{{ nodes.{name}.text }}}}" for name in nodes},
    }  # fmt: skip
    return person.wait(person.start(json.dumps(source)), "failed", "completed")


def everything(person: Person, run: dict[str, Any]) -> str:
    """All that anybody can see of a run: answers, events, records, history and logs."""
    stack, run_id = person.stack, run["run_id"]
    logs, tables = stack.client("logs"), stack.client("dynamodb")
    seen: list[Any] = [run, person.call("GET", f"/runs/{run_id}/events?limit=1000").json()]
    for name in ("StateTableName", "CatalogTableName", "ConnectionsTableName"):
        pages = tables.get_paginator("scan").paginate(TableName=stack.outputs[name])
        seen.extend(page["Items"] for page in pages)
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    assert any("run-node" in group for group in groups)
    for group in groups:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        seen.extend(page["events"] for page in pages)
    history = stack.client("stepfunctions").get_paginator("get_execution_history")
    seen.extend(history.paginate(executionArn=person.execution_of(run_id)))
    return json.dumps(seen, default=str)


def test_each_provider_gets_its_own_key_and_nobody_else_sees_it(
    providers: Providers, ada: Person
) -> None:
    ended = run(ada, one=("deepseek", "m-1"), two=("openrouter", "m-2"))
    assert ended["status"] == "completed", ended["error"]
    assert list(ended["outputs"].values()) == [gate.text for gate in providers.gates]
    for gate, server in zip(providers.gates, providers.servers, strict=True):
        assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {gate.key}"}
    seen = everything(ada, ended)
    assert "Hello from the second." in seen
    assert not [key for key in providers.put if key in seen]


def test_a_key_that_was_replaced_costs_no_run(providers: Providers, ada: Person) -> None:
    first, second = providers.gates
    old, first.key, second.key = first.key, f"sk-{uuid.uuid4().hex}", f"sk-{uuid.uuid4().hex}"
    providers.put_secret(first.key)
    providers.put_parameter(second.key)
    providers.servers[0].requests.clear()
    ended = run(ada, one=("deepseek", "m-1"), two=("openrouter", "m-2"))
    assert ended["status"] == "completed", ended["error"]
    # A process that had not read it yet asks once.
    assert providers.asked()[-1] == f"Bearer {first.key}"
    assert set(providers.asked()[:-1]) <= {f"Bearer {old}"}


def test_a_key_that_is_refused_is_asked_for_at_its_place_and_not_shown(
    providers: Providers, ada: Person
) -> None:
    for gate, put in zip(
        providers.gates, (providers.put_secret, providers.put_parameter), strict=True
    ):
        gate.key = f"sk-{uuid.uuid4().hex}"  # neither the one that is kept nor the one to come
        put(f"sk-wrong-{uuid.uuid4().hex}")
    providers.servers[0].requests.clear()
    one = run(ada, one=("deepseek", "m-1"))
    two = run(ada, two=("openrouter", "m-2"))
    assert [one["error"]["code"], two["error"]["code"]] == ["model_auth"] * 2
    assert "401" in one["error"]["message"]
    assert (
        "'deepseek' into the secret of the template's parameter ModelKeysSecret"
        in (one["error"]["message"])
    )
    assert f"{PATH}/openrouter" in two["error"]["message"]
    assert providers.asked()[-1] == f"Bearer {providers.put[-2]}"
    assert len(providers.asked()) <= 2, "a key that is refused is read again once"
    seen = everything(ada, two)
    assert "model_auth" in seen
    assert not [key for key in providers.put if key in seen]


def test_a_key_that_is_missing_is_named_with_its_place(providers: Providers, ada: Person) -> None:
    error = run(ada, one=("siliconflow", "m-1"))["error"]
    assert error["code"] == "model_auth"
    assert error["message"].startswith("provider 'siliconflow' has no key: ")
    for place in ("ModelKeysSecret", f"{PATH}/siliconflow", "SILICONFLOW_API_KEY"):
        assert place in error["message"]


def test_bedrock_answers_by_the_rights_of_the_function(ada: Person) -> None:
    ended = run(ada, one=("bedrock", NOVA))
    assert ended["status"] == "completed", ended["error"]
    assert NOVA in ended["outputs"]["one"]
    usage, price = ended["usage"], known_prices().find("bedrock", NOVA)
    assert price is not None
    assert (usage["model_calls"], usage["estimated"]) == (1, False)
    assert min(usage["input_tokens"], usage["output_tokens"]) > 0
    pico = price.pico(Usage(usage["input_tokens"], usage["output_tokens"]))
    assert usage["usd"] == pytest.approx(pico / 1e12)
    assert "unpriced" not in usage


def test_models_of_bedrock_that_are_unknown_or_not_allowed(ada: Person) -> None:
    unknown = run(ada, one=("bedrock", NOBODYS))["error"]
    assert unknown["code"] == "model_unknown"
    assert NOBODYS in unknown["message"]
    refused = run(ada, one=("bedrock", "amazon.nova-pro-v1:0"))["error"]
    assert refused["code"] == "model_auth"
    assert "BedrockModels" in refused["message"]

"""The environment becomes adapters; what is missing is told at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from joinery import bootstrap
from joinery.errors import InvalidRequest, JoineryError
from joinery.model_errors import PermanentModelUnknown
from joinery.settings import NotConfigured, Settings

ENVIRONMENT = {
    "JOINERY_STAGE": "test",
    "JOINERY_STATE_TABLE": "state",
    "JOINERY_CATALOG_TABLE": "catalog",
    "JOINERY_CONNECTIONS_TABLE": "connections",
    "JOINERY_BUCKET": "bucket",
    "JOINERY_WEBSOCKET_ENDPOINT": "http://127.0.0.1:9/dev",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    cached = [f for f in vars(bootstrap).values() if hasattr(f, "cache_clear")]
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("given", "seconds"), [(None, 0.1), ("250", 0.25)])
def test_how_often_text_is_sent_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, given: str | None, seconds: float
) -> None:
    if given is not None:
        monkeypatch.setenv("JOINERY_DELTA_MS", given)
    assert bootstrap.run_deps().delta_s == seconds
    bootstrap.publisher().close()


def test_all_missing_variables_are_named() -> None:
    with pytest.raises(NotConfigured) as raised:
        Settings.from_env({"JOINERY_STAGE": "x", "JOINERY_BUCKET": ""})
    missing = set(ENVIRONMENT) - {"JOINERY_STAGE"}
    assert all(name in str(raised.value) for name in missing)
    assert "JOINERY_STAGE" not in str(raised.value)


def test_what_only_some_functions_need_is_asked_for_when_it_is_needed(environment: None) -> None:
    assert bootstrap.settings().state_table == "state"
    for ask, name in (
        (bootstrap.machines, "JOINERY_PUBLISHER_FUNCTION"),
        (bootstrap.state_machines, "JOINERY_MACHINE_ROLE_ARN"),
        (bootstrap.run_node_arn, "JOINERY_RUN_NODE_ARN"),
        (bootstrap.machine_prefix, "JOINERY_MACHINE_PREFIX"),
    ):
        with pytest.raises(NotConfigured, match=name):
            ask()


def test_everything_is_made_once_and_calls_nobody(environment: None) -> None:
    assert bootstrap.run_deps().store is bootstrap.archive() is bootstrap.store()
    assert bootstrap.run_deps().publisher is bootstrap.publisher()
    assert bootstrap.catalog() is bootstrap.catalog()
    assert bootstrap.socket_services().connections is bootstrap.connections()
    assert bootstrap.executions() is bootstrap.executions()
    bootstrap.drain()
    assert not bootstrap.clients().counter.snapshot()


def test_only_who_runs_nodes_or_closes_runs_wakes_nodes_that_wait(environment: None) -> None:
    wakes = {
        deps.children.settles: deps.children
        for deps in (bootstrap.run_deps(), bootstrap.closing_deps())
        if deps.children
    }
    assert set(wakes) == {False, True}
    with_models = bootstrap.run_deps(bootstrap.models_of({}))
    assert with_models.children is wakes[True]
    with pytest.raises(JoineryError, match="wakes no Tasks"):
        wakes[False].answer("token", {})


def test_functions_that_run_no_nodes_have_no_models(environment: None) -> None:
    with pytest.raises(JoineryError, match="runs no nodes"):
        bootstrap.run_deps().models.resolve({})


def test_models_of_a_run(environment: None) -> None:
    provider, name = bootstrap.models_of({"cassette": []}).resolve({"provider": "openai"})
    assert provider.name == "scripted"
    provider, name = bootstrap.models_of({"model": "openai:gpt-x"}).resolve({"name": "y"})
    assert (provider.name, name) == ("openai", "gpt-x")
    assert bootstrap.models_of({}) is bootstrap.models_of({})
    with pytest.raises(PermanentModelUnknown):
        bootstrap.models_of({"model": "nobody:x"})
    with pytest.raises(InvalidRequest):
        bootstrap.models_of({"cassette": {"not": "a list"}})

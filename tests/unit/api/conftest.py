from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.installation import Api, api

SOURCE = """\
version: 1
name: greet
inputs:
  who: {type: string, required: true}
nodes:
  hello: {type: template, template: "Hello, {{ inputs.who }}"}
edges: [start -> hello, hello -> end]
outputs: {text: "{{ nodes.hello.text }}"}
"""


@pytest.fixture
def server() -> Iterator[Api]:
    with api() as made:
        yield made


@pytest.fixture
def source() -> str:
    return SOURCE


@pytest.fixture
def workflow_id(server: Api) -> str:
    published: str = server.post("/workflows", {"source": SOURCE}).body["workflow_id"]
    return published

"""Images and files of nodes that ask a model."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kit.engines import interpreted
from kit.wires import PIXEL
from kit.workflows import workflow

from joinery.compiler.build import build_plan
from joinery.llm.types import CallContext, Chunk, Finished, ModelRequest, TextChunk, Usage

PNG = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
PDF = "data:application/pdf;name=a.pdf;base64," + base64.b64encode(b"%PDF-1").decode()


class Eye:
    """A model that remembers what it was shown."""

    name = "eye"

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []

    def resolve(self, ref: Mapping[str, Any]) -> tuple[Eye, str]:
        return self, "m"

    def context_window(self, model: str) -> int | None:
        return None

    def stream(self, request: ModelRequest, call: CallContext) -> Iterator[Chunk]:
        self.asked.append(request)
        yield TextChunk("seen")
        yield Finished(Usage(1, 1))


def look(eye: Eye, images: Any, files: Any, **inputs: Any) -> Any:
    flow = workflow(
        ["start -> see -> end"],
        {"see": {"type": "llm", "prompt": "what?", "images": images, "files": files}},
        inputs={"one": {}, "many": {"type": "array"}},
    )
    return interpreted(build_plan(flow), inputs, models=eye)


def test_expressions_give_a_file_a_list_or_nothing() -> None:
    eye = Eye()
    many = ["{{ inputs.many }}"]
    ended = look(eye, ["{{ inputs.one }}"], many, one=PNG, many=[PDF, "", PDF])
    assert ended.status == "completed"
    (message,) = eye.asked[0].messages
    assert [m.mime_type for m in message.media] == ["image/png", *["application/pdf"] * 2]
    assert message.media[1].name == "a.pdf"
    look(eye, ["{{ inputs.one }}"], many, one="", many=[])
    assert eye.asked[1].messages[0].media == ()


@pytest.mark.parametrize(
    ("one", "many", "word"),
    [
        (PDF, [], "images are"),
        ("https://example.com/a.png", [], "data URL"),
        (PNG, [3], "data URL"),
        (PNG, [PDF] * 20, "20 files at most"),
    ],
)
def test_what_is_no_file_fails_the_node_before_anything_is_asked(
    one: str, many: list[Any], word: str
) -> None:
    eye = Eye()
    ended = look(eye, ["{{ inputs.one }}"], ["{{ inputs.many }}"], one=one, many=many)
    assert ended.run.error["code"] == "media_invalid"
    assert word in ended.run.error["message"]
    assert eye.asked == []

"""Checks the OpenAPI documents of tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joinery import limits
from joinery.workflow.report import Collector


@dataclass(frozen=True, slots=True)
class Piece:
    """A text of code, or a document: where it stands, and in which file."""

    text: str
    pointer: str
    file: str = ""


def check_document(name: str, tool: Mapping[str, Any], piece: Piece | None, out: Collector) -> None:
    """Reports what is wrong with the document of a tool, and with what is wanted of it."""
    from joinery.workflow.openapi import read_operations, wanted_of
    from joinery.workflow.source import load

    if piece is None:
        return
    where = f" ({piece.file})" if piece.file else ""
    size = len(piece.text.encode("utf-8", "replace"))
    if size > limits.DOCUMENT_BYTES:
        out.add("limit.document", f"tool '{name}': the document has {size:,} bytes{where}; the "
                f"limit is {limits.DOCUMENT_BYTES:,}", piece.pointer,
                hint="leave the operations out that are not meant")  # fmt: skip
        return
    source = load(piece.text)
    if not source.readable:
        for problem in source.problems:
            at = f"{where or ', in the document'}, line {problem.line}"
            out.add("tool.document", f"tool '{name}': {problem.message}{at}", piece.pointer)
        return
    for flaw in read_operations(source.data, wanted_of(name, tool))[1]:
        out.add("tool.document", f"tool '{name}': {flaw.message}{where}", piece.pointer,
                hint=flaw.hint)  # fmt: skip

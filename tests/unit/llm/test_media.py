"""Files of prompts: read from data URLs, checked, and refused before anything is sent."""

from __future__ import annotations

import base64

import pytest
from kit.wires import PIXEL

from joinery import limits
from joinery.llm.media import from_data_url, to_data_url
from joinery.llm.types import Media
from joinery.model_errors import PermanentMediaInvalid


def url(mime_type: str, data: bytes) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "media",
    [
        Media("image/png", PIXEL, "a; b, é.png"),
        Media("application/pdf", b"%PDF-1.7", "report.pdf"),
        Media("text/csv", b"a,b"),
    ],
)
def test_a_file_survives_being_a_data_url(media: Media) -> None:
    image = media.mime_type.startswith("image/")
    assert from_data_url(to_data_url(media), image=image) == media


@pytest.mark.parametrize(
    ("text", "image", "word"),
    [
        ("", False, "data URL"),
        ("https://example.com/a.png", True, "data URL"),
        ("file:///etc/passwd", False, "data URL"),
        ("data:text/plain,hello", False, "data URL"),
        ("data:image/png;base64,!!!", True, "not base64"),
        (url("image/png", b""), True, "is not"),
        (url("image/png", b"GIF89a"), True, "is not"),
        (url("application/pdf", PIXEL), False, "is not"),
        (url("image/svg+xml", b"<svg/>"), True, "images are"),
        (url("application/pdf", b"%PDF"), True, "images are"),
        (url("text/plain", b"x" * (limits.MEDIA_BYTES + 1)), False, "limit"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_refused(text: str, image: bool, word: str) -> None:
    with pytest.raises(PermanentMediaInvalid, match=word):
        from_data_url(text, image=image)

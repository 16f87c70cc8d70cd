"""Files that messages carry: reading them from data URLs, and refusing what cannot be sent."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from joinery import limits
from joinery.llm.types import Media, ModelRequest
from joinery.model_errors import PermanentMediaInvalid, PermanentMediaUnsupported

IMAGE_TYPES: Final = ("image/gif", "image/jpeg", "image/png", "image/webp")
"""Images that all providers with images take."""

_HEAD: Final = re.compile(r"^data:([a-z0-9.+/-]+)((?:;[a-z]+=[^;,]*)*);base64,", re.IGNORECASE)
_SIGNS: Final[Mapping[str, bytes]] = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
    "application/pdf": b"%PDF",
}


def kind_of(media: Media) -> str:
    """Returns `image` or `file`."""
    return "image" if media.mime_type.startswith("image/") else "file"


def to_data_url(media: Media) -> str:
    """Returns a file as a data URL; its name is a parameter of it."""
    name = f";name={quote(media.name)}" if media.name else ""
    return f"data:{media.mime_type}{name};base64,{base64.b64encode(media.data).decode()}"


def is_data_url(value: object) -> bool:
    """Whether a value begins like a data URL in base64."""
    return isinstance(value, str) and bool(_HEAD.match(value[:1_000]))


def from_data_url(url: str, *, image: bool) -> Media:
    """Returns the file that a data URL holds.

    Args:
        url: `data:image/png;name=cat.png;base64,…`; the name may be left out.
        image: Whether it must be an image.

    Raises:
        PermanentMediaInvalid: It is none, its bytes are not what it says, or it is too large.
    """
    head = _HEAD.match(url)
    if head is None:
        raise PermanentMediaInvalid(
            "a file is given as a data URL in base64, such as data:image/png;base64,…"
        )
    mime_type = head.group(1).lower()
    name = ""
    for parameter in head.group(2).split(";"):
        key, _, value = parameter.partition("=")
        if key.lower() == "name":
            name = unquote(value)[:200]
    try:
        data = base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise PermanentMediaInvalid(f"the data URL of {_called(name)} is not base64") from None
    return checked(Media(mime_type, data, name), image=image)


def checked(media: Media, *, image: bool) -> Media:
    """Returns a file that may be sent.

    Raises:
        PermanentMediaInvalid: It is empty, too large, or its bytes are not what its type says.
    """
    called, size = _called(media.name), len(media.data)
    if image and media.mime_type not in IMAGE_TYPES:
        raise PermanentMediaInvalid(
            f"{called} is {media.mime_type}; images are {', '.join(IMAGE_TYPES)}, "
            "other files stand in 'files'"
        )
    sign = _SIGNS.get(media.mime_type)
    if not size or (sign and not media.data.startswith(sign)):
        raise PermanentMediaInvalid(f"{called} says that it is {media.mime_type}, and is not")
    if size > limits.MEDIA_BYTES:
        raise PermanentMediaInvalid(
            f"{called} has {size:,} bytes; the limit is {limits.MEDIA_BYTES:,}",
            limit=limits.MEDIA_BYTES,
            actual=size,
        )
    return media


def refuse_media(
    provider: str, request: ModelRequest, takes: frozenset[str], types: frozenset[str] | None = None
) -> None:
    """Raises for a file of a request that a provider cannot take.

    Args:
        provider: Its name.
        request: The request.
        takes: `image`, `file`, both or none.
        types: The types of files that it takes, or None for any.

    Raises:
        PermanentMediaUnsupported: Names the model, the provider and the file.
    """
    for message in request.messages:
        for media in message.media:
            kind = kind_of(media)
            bad_type = kind == "file" and types is not None and media.mime_type not in types
            if kind in takes and not bad_type:
                continue
            what = "images" if kind == "image" else "files"
            what = f"files of the type {media.mime_type}" if bad_type and kind in takes else what
            raise PermanentMediaUnsupported(
                f"the model '{request.model}' of provider '{provider}' takes no {what}: "
                f"{_called(media.name)} cannot be sent",
                provider=provider,
                model=request.model,
                mime_type=media.mime_type,
            )


def _called(name: str) -> str:
    return f"'{name}'" if name else "the file"

"""Errors of the packager."""

from __future__ import annotations

from typing import ClassVar

from joinery.errors import Unavailable


class PackagingFailed(Unavailable):
    """A function could not be packaged; the message ends with what the tool said."""

    code: ClassVar[str] = "packaging_failed"

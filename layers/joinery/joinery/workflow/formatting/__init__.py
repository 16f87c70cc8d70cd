"""Brings workflow files to one form, with every comment and without changing what they say.

`format_text` is all there is to call.
"""

from __future__ import annotations

from joinery.workflow.formatting.text import format_text

__all__ = ["format_text"]

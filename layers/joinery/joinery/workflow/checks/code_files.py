"""Reads the files of code, and of documents of tools, that a workflow file names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from joinery import limits
from joinery.workflow.report import Collector
from joinery.workflow.yaml_tree import escape_pointer

_KEYS: Final = ("code", "document")


def read_code_files(data: Mapping[str, Any], folder: Path | None, out: Collector) -> dict[str, str]:
    """Returns the texts in files by their pointer, reporting what cannot be read.

    Args:
        data: The file's data.
        folder: The workflow file's folder; None when there is none, as in a request.
        out: Takes problems.
    """
    found: dict[str, str] = {}
    for pointer, name in _named(data):
        place = f"{pointer}/file"
        if folder is None:
            out.add("code.file_missing", f"'{name}': there is no folder to read from", place,
                    hint="send the code as text")  # fmt: skip
            continue
        text = _read(folder, name, place, out)
        if text is not None:
            found[pointer] = text
    return found


def with_code(data: Mapping[str, Any], codes: Mapping[str, str]) -> Mapping[str, Any]:
    """Returns the data with the texts of files in it."""
    if not codes:
        return data
    made = dict(data)
    for section in ("nodes", "tools"):
        if isinstance(entries := data.get(section), dict):
            made[section] = {
                name: _filled(entry, f"/{section}/{escape_pointer(name)}", codes)
                for name, entry in entries.items()
            }
    return made


def _filled(entry: Any, pointer: str, codes: Mapping[str, str]) -> Any:
    texts = {key: codes[at] for key in _KEYS if (at := f"{pointer}/{key}") in codes}
    return {**entry, **texts} if texts else entry


def _named(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for section in ("nodes", "tools"):
        entries = data.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            for key in _KEYS if isinstance(entry, dict) else ():
                text = entry.get(key)
                file = text.get("file") if isinstance(text, dict) else None
                if isinstance(file, str) and (section == "tools" or entry.get("type") == "code"):
                    yield f"/{section}/{escape_pointer(name)}/{key}", file


def _read(folder: Path, name: str, pointer: str, out: Collector) -> str | None:
    most = limits.DOCUMENT_BYTES if pointer.endswith("/document/file") else limits.CODE_BYTES
    base = folder.resolve()
    try:
        path = (base / name).resolve()
        inside = path.is_relative_to(base)
        raw = None
        if inside and path.is_file():
            with path.open("rb") as file:
                # What is longer is refused by its size; nobody needs to read all of it.
                raw = file.read(most + 1)
    except (OSError, ValueError):  # ValueError: a null byte in the name
        inside, raw = True, None
    if not inside:
        out.add("code.file_outside", f"'{name}' is outside the workflow's folder", pointer,
                hint="keep code files beside or below the workflow file")  # fmt: skip
    elif raw is None:
        out.add("code.file_missing", f"there is no file '{name}'", pointer,
                hint="paths are relative to the workflow file")  # fmt: skip
    else:
        # One that is too long is cut anywhere, also inside a letter.
        errors = "replace" if len(raw) > most else "strict"
        try:
            return raw.decode("utf-8-sig", errors).replace("\r\n", "\n")
        except UnicodeDecodeError:
            out.add("code.encoding", f"'{name}' is not UTF-8", pointer,
                    hint="save the file as UTF-8")  # fmt: skip
    return None

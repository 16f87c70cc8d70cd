"""Fetches the example servers of MCP's SDK: its wheel leaves them out, its source package has them.

The version and the hash are those of the lock file.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "dev.lock"
FOLDER = ROOT / ".tools"


def examples() -> Path:
    """Returns the folder of the examples, fetching them first where they are not there yet.

    Raises:
        LookupError: The index has no source package with a hash of the lock file.
        httpx.HTTPError: The index was not reached.
    """
    version, hashes = _locked()
    folder = FOLDER / f"mcp-{version}"
    if not folder.exists():
        _unpack(_source(version, hashes), version, folder)
    return folder / "examples"


def _locked() -> tuple[str, set[str]]:
    found = re.search(r"^mcp==(\S+)((?: \\\n +--hash=\S+)+)", LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{LOCK} has no mcp")
    return found[1], set(re.findall(r"sha256:(\w+)", found[2]))


def _source(version: str, hashes: set[str]) -> bytes:
    index = os.environ.get("UV_INDEX_URL") or os.environ.get("PIP_INDEX_URL")
    page = f"{(index or 'https://pypi.org/simple').rstrip('/')}/mcp/"
    with httpx.Client(follow_redirects=True, timeout=60) as client:
        # https://packaging.python.org/en/latest/specifications/simple-repository-api/
        links = _Links()
        links.feed(client.get(page, headers={"Accept": "text/html"}).raise_for_status().text)
        for link in links.found:
            if link.partition("#")[0].endswith(f"/mcp-{version}.tar.gz"):
                data = client.get(urljoin(page, link)).raise_for_status().content
                if hashlib.sha256(data).hexdigest() in hashes:
                    return data
    raise LookupError(f"{page} has no mcp-{version}.tar.gz with a hash of {LOCK.name}")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _unpack(data: bytes, version: str, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        wanted = f"mcp-{version}/examples/"
        archive.extractall(part, [m for m in archive if m.name.startswith(wanted)], filter="data")
    folder.parent.mkdir(exist_ok=True)
    (part / f"mcp-{version}").replace(folder)
    shutil.rmtree(part)

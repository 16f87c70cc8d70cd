"""What every store of packages promises."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kit.installation import Packages

from joinery.aws.clients import Clients
from joinery.aws.packages import S3Packages
from joinery.code_errors import TransientCodeRunner
from joinery.packages.model import object_key

if TYPE_CHECKING:
    from contract.backends import Backend

    from joinery.packages.ports import PackageStore


def put(backend: Backend, store: Any, owner: str, body: bytes) -> str:
    """Stores a package as who was given its address does; returns its name."""
    sha256 = hashlib.sha256(body).hexdigest()
    if isinstance(store, Packages):
        store.stored[object_key(owner, sha256)] = len(body)
    else:
        backend.s3.put_object(Bucket=backend.bucket, Key=object_key(owner, sha256), Body=body)
    return sha256


@pytest.fixture
def store(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> PackageStore:
    if backend.name == "memory":
        return Packages()
    if backend.name == "moto":  # whose addresses nobody knows
        monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(2, 1, 6, "", ("52.218.0.1", 443))])
    return S3Packages(backend.s3, backend.bucket)


def test_each_owner_has_packages_of_their_own(backend: Backend, store: PackageStore) -> None:
    body = os.urandom(50)
    sha256 = put(backend, store, "ada", body)
    assert store.size("ada", sha256) == 50
    assert store.size("bob", sha256) is None
    assert store.size("ada", "0" * 64) is None
    places = {store.download(owner, sha256).url.partition("?")[0] for owner in ("ada", "bob")}
    assert len(places) == 2
    assert all(place.endswith(f"/{sha256}.zip") for place in places)
    assert store.upload("ada", sha256, 50).url.partition("?")[0] in places


def clients(region: str = "eu-west-1") -> Clients:
    return Clients(region=region, aws_access_key_id="AKIA", aws_secret_access_key="key",
                   aws_session_token="session")  # fmt: skip


def test_only_the_bytes_that_were_offered_can_be_sent() -> None:
    sha256 = hashlib.sha256(b"zip").hexdigest()
    upload = S3Packages(clients().s3, "bucket", clock=lambda: 1_000.0).upload("ada", sha256, 3)
    place = urlsplit(upload.url)
    said = {name: value[0] for name, value in parse_qs(place.query).items()}
    assert place.hostname == "bucket.s3.eu-west-1.amazonaws.com"
    assert place.path == f"/{object_key('ada', sha256)}"
    assert said["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert said["X-Amz-Expires"] == "300"
    signed = set(said["X-Amz-SignedHeaders"].split(";"))
    assert signed == {"host", *upload.headers} >= {"content-length", "x-amz-checksum-sha256"}
    checksum = base64.b64encode(hashlib.sha256(b"zip").digest()).decode()
    assert upload.headers["x-amz-checksum-sha256"] == checksum
    assert upload.headers["content-length"] == "3"
    assert upload.expires_at == 1_300.0
    assert "ada" not in upload.url
    oldest = S3Packages(clients("us-east-1").s3, "bucket").upload("ada", sha256, 3)
    assert urlsplit(oldest.url).hostname == "bucket.s3.us-east-1.amazonaws.com"


def test_addresses_are_looked_up_where_names_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(2, 1, 6, "", (f"52.218.0.{n}", 443)) for n in (1, 1, 2, 3, 4)]
    asked: list[Any] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *a: asked.append(a[:2]) or rows)
    download = S3Packages(clients().s3, "bucket").download("ada", "0" * 64)
    assert asked == [("bucket.s3.eu-west-1.amazonaws.com", 443)]
    assert download.addresses == ("52.218.0.1", "52.218.0.2", "52.218.0.3")
    assert parse_qs(urlsplit(download.url).query)["X-Amz-SignedHeaders"] == ["host"]

    def unknown(*_: Any) -> Any:
        raise OSError("no such name")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(TransientCodeRunner):
        S3Packages(clients().s3, "bucket").download("ada", "0" * 64)

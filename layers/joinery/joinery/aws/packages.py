"""Packages in the bucket: addresses to send them to and to fetch them from.

packages/<hash of the owner>/<sha256>.zip
"""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from joinery import limits
from joinery.aws.errors import aws_errors, refused_as
from joinery.code_errors import TransientCodeRunner
from joinery.errors import PermanentInternal
from joinery.packages.model import object_key
from joinery.packages.ports import Download, Upload

_ADDRESSES: Final = 3
_TYPE: Final = "application/zip"


class S3Packages:
    """Implements `PackageStore`.

    Args:
        client: S3 client that signs with version 4.
        bucket: Name of the bucket.
        clock: Epoch seconds.
    """

    def __init__(self, client: Any, bucket: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._bucket, self._clock = client, bucket, clock

    def size(self, owner: str, sha256: str) -> int | None:
        """See `PackageStore.size`."""
        try:
            with aws_errors("HeadObject"):
                found = self._client.head_object(Bucket=self._bucket, Key=object_key(owner, sha256))
        except PermanentInternal as error:
            if refused_as(error, "NoSuchKey", "404", "NotFound"):
                return None
            raise
        return int(found["ContentLength"])

    def upload(self, owner: str, sha256: str, size: int) -> Upload:
        """See `PackageStore.upload`: length and checksum are signed, and S3 checks both."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": object_key(owner, sha256),
                "ContentType": _TYPE,
                "ContentLength": size,
                "ChecksumSHA256": checksum,
            },
            ExpiresIn=limits.PACKAGE_URL_S,
        )
        headers = {
            "content-type": _TYPE,
            "content-length": str(size),
            "x-amz-checksum-sha256": checksum,
        }
        return Upload(str(url), headers, self._clock() + limits.PACKAGE_URL_S)

    def download(self, owner: str, sha256: str) -> Download:
        """See `PackageStore.download`."""
        url = str(
            self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": object_key(owner, sha256)},
                ExpiresIn=limits.PACKAGE_URL_S,
            )
        )
        place = urlsplit(url)
        return Download(url, _addresses(place.hostname or "", place.port or 443))


def _addresses(host: str, port: int) -> tuple[str, ...]:
    try:
        rows = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise TransientCodeRunner(f"the place of packages has no address: {error}") from None
    return tuple(dict.fromkeys(str(row[4][0]) for row in rows))[:_ADDRESSES]

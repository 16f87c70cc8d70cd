"""JSON that is too large for an item: kept in S3 under the hash of its content.

An object is written before the item that refers to it, and never changed: the
same content has the same key, so writing again does no harm.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Final

from joinery import limits
from joinery.aws.errors import aws_errors, refused_as
from joinery.aws.items import Attribute, dump, number, string
from joinery.errors import NotFound, PermanentInternal

CACHE_BYTES: Final = 8 * 1024 * 1024
"""JSON kept parsed in this process; parsed it takes up to five times as much memory."""


class SizedCache:
    """Keeps what was used last, up to a number of bytes; thread safe."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """Returns what is kept under a key, None when nothing is."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keeps a value of `size` bytes; one larger than the whole cache is not kept."""
        if size > self._limit:
            return
        with self._lock:
            self._size += size - self._held.pop(key, (None, 0))[1]
            self._held[key] = (value, size)
            while self._size > self._limit:
                self._size -= self._held.popitem(last=False)[1][1]


class Documents:
    """Stores JSON: small in the item itself, large in a bucket.

    What `get` returns is shared between callers: nobody may change it.

    Args:
        client: S3 client.
        bucket: Name of the bucket.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        self._client, self._bucket = client, bucket
        self._cache = SizedCache()

    def attributes(
        self, name: str, value: Any, prefix: str, *, inline: int = limits.INLINE_BYTES
    ) -> dict[str, Attribute]:
        """Stores a value and returns the attribute that holds it or refers to it.

        Args:
            name: Name of the attribute; a reference is called `<name>_ref`.
            value: JSON-ready value.
            prefix: Where in the bucket it goes, such as `runs/run_01j…`.
            inline: Most bytes of JSON that stay in the item.

        Returns:
            `{name: text}`, or `{name_ref: {ref, bytes, sha256}}` above `inline`.
        """
        text = dump(value)
        body = text.encode()
        if len(body) <= inline:
            return {name: string(text)}
        digest = hashlib.sha256(body).hexdigest()
        ref = f"{prefix}/{digest}.json"
        with aws_errors("PutObject"):
            self._client.put_object(
                Bucket=self._bucket, Key=ref, Body=body, ContentType="application/json"
            )
        fields = {"ref": string(ref), "bytes": number(len(body)), "sha256": string(digest)}
        return {f"{name}_ref": {"M": fields}}

    def value(self, item: Mapping[str, Any], name: str) -> Any:
        """Returns what `attributes` stored, None where there is nothing."""
        if name in item:
            return json.loads(item[name]["S"])
        ref = ref_of(item, name)
        return self.get(ref) if ref else None

    def get(self, ref: str) -> Any:
        """Returns a document from the bucket.

        Raises:
            NotFound: It is gone; results are kept for a limited time.
            PermanentInternal: Its content is not what was stored.
        """
        kept = self._cache.get(ref)
        if kept is not None:
            return kept
        body = self._read(ref)
        if hashlib.sha256(body).hexdigest() != ref.rsplit("/", 1)[-1].removesuffix(".json"):
            raise PermanentInternal("a stored document is damaged: its hash is another")
        value = json.loads(body)
        self._cache.put(ref, value, len(body))
        return value

    def put_bytes(self, ref: str, body: bytes) -> None:
        """Stores bytes under a key in the bucket."""
        with aws_errors("PutObject"):
            self._client.put_object(Bucket=self._bucket, Key=ref, Body=body)

    def get_bytes(self, ref: str) -> bytes:
        """Returns bytes from the bucket. Raises: NotFound."""
        return self._read(ref)

    def delete_all(self, prefix: str) -> None:
        """Deletes every document below a prefix, such as `runs/run_01j…/`."""
        while True:
            with aws_errors("ListObjectsV2"):
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
            keys = [{"Key": held["Key"]} for held in page.get("Contents", ())]
            if not keys:
                return
            with aws_errors("DeleteObjects"):
                self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True}
                )

    def _read(self, ref: str) -> bytes:
        try:
            with aws_errors("GetObject"):
                answer = self._client.get_object(Bucket=self._bucket, Key=ref)
                body: bytes = answer["Body"].read()
        except PermanentInternal as error:
            if refused_as(error, "NoSuchKey", "404"):
                raise NotFound("a stored document is gone: its retention has ended") from None
            raise
        return body


def ref_of(item: Mapping[str, Any], name: str) -> str:
    """Returns the key in the bucket of an attribute's value, `""` where it is in the item."""
    held = item.get(f"{name}_ref")
    return str(held["M"]["ref"]["S"]) if held else ""

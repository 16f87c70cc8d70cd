"""What the contract tests run against: stores in memory, on moto and on the local stack."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from joinery.aws.documents import Documents
from joinery.aws.dynamo_catalog import DynamoCatalogStore
from joinery.aws.dynamo_runs import DynamoRunStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from joinery.runs.model import RunRecord
    from joinery.runs.ports import RunStore


@dataclass
class Backend:
    """One way to keep runs.

    Attributes:
        name: `memory`, `moto` or `stack`.
        make: Makes a store; stores of one backend see the same runs, but memory's.
        client: DynamoDB client, None in memory.
        state_table: Name of the state table.
        catalog: Makes a catalogue, None in memory.
        s3: S3 client, None in memory.
        bucket: Name of the bucket.
        catalog_table: Name of the catalog table.
    """

    name: str
    make: Callable[[], RunStore]
    client: Any = None
    state_table: str = ""
    catalog: Callable[[], DynamoCatalogStore] | None = None
    s3: Any = None
    bucket: str = ""
    catalog_table: str = ""


@dataclass
class Started:
    """A store with a run in it."""

    store: Any
    run: RunRecord
    backend: Backend
    now: float = field(default_factory=time.time)

    @property
    def id(self) -> str:
        return self.run.run_id

    def again(self) -> Any:
        """Another process's store of the same run; in memory there is only one."""
        return self.store if self.backend.name == "memory" else self.backend.make()


def create_tables(client: Any) -> None:
    """Makes the tables as template.yaml does."""
    for name in ("state", "catalog", "connections"):
        indexes = {"by_owner": ("owner", "ALL"), "due": ("due", "KEYS_ONLY")}
        indexed = [f"{p}_{end}" for p, _ in indexes.values() for end in ("pk", "sk")]
        keys = ["pk", "sk", *(indexed if name == "state" else [])]
        index = {
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": index_name,
                    "KeySchema": _schema(f"{prefix}_pk", f"{prefix}_sk"),
                    "Projection": {"ProjectionType": projection},
                }
                for index_name, (prefix, projection) in indexes.items()
            ]
        }
        client.create_table(
            TableName=name,
            KeySchema=_schema("pk", "sk"),
            AttributeDefinitions=[{"AttributeName": k, "AttributeType": "S"} for k in keys],
            BillingMode="PAY_PER_REQUEST",
            **(index if name == "state" else {}),
        )


def _schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


@contextmanager
def moto_backend() -> Iterator[Backend]:
    """DynamoDB and S3 in this process; requests are served one after the other."""
    import boto3
    from moto import mock_aws
    from moto.core.botocore_stubber import BotocoreStubber

    lock = threading.Lock()
    serve = BotocoreStubber.process_request

    def one_at_a_time(self: Any, request: Any) -> Any:
        # moto reads and writes without a lock, which DynamoDB does not.
        with lock:
            return serve(self, request)

    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setattr(BotocoreStubber, "process_request", one_at_a_time)
        session = boto3.session.Session(region_name="us-east-1")
        client, s3 = session.client("dynamodb"), session.client("s3")
        create_tables(client)
        s3.create_bucket(Bucket="documents")
        yield dynamo_backend("moto", client, s3, "state", "catalog", "documents")
        client.close()
        s3.close()


def dynamo_backend(
    name: str, client: Any, s3: Any, state: str, catalog: str, bucket: str
) -> Backend:
    documents = Documents(s3, bucket)
    return Backend(
        name,
        lambda: DynamoRunStore(client, state, documents),
        client,
        state,
        lambda: DynamoCatalogStore(client, catalog, documents),
        s3,
        bucket,
        catalog,
    )

"""Keys and attributes of DynamoDB items.

Values that conditions look at are attributes of their own. Everything that is
JSON is kept as JSON text: DynamoDB's numbers would change floats, and its maps
cost more bytes than text does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from joinery import limits
from joinery.errors import PermanentInternal, TooLarge
from joinery.runs.model import NodeKey

Attribute = dict[str, Any]
Item = dict[str, Any]

META: Final = "META"
CTRL: Final = "CTRL"
NODES: Final = "N#"
EVENTS: Final = "E#"
TEXTS: Final = "T#"
SUBSCRIBERS: Final = "S#"
TOKENS: Final = "W#"
JOINS: Final = "Q#"
INBOX: Final = "I#"
JOURNALS: Final = "J#"
BELOW: Final = "B#"

PATH_PART_MAX: Final = 99_999
"""Largest loop round or item index that a key holds."""

SEQ_MAX: Final = 9_999_999_999


# -- JSON ------------------------------------------------------------------------------


def dump(value: Any) -> str:
    """Returns compact JSON that can be encoded as UTF-8.

    Raises:
        PermanentInternal: The value is not JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PermanentInternal(f"a value cannot be stored: it is not JSON ({error})") from None
    return text if is_unicode(text) else json.dumps(value, separators=(",", ":"))


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text: half of a surrogate pair alone it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# -- attributes --------------------------------------------------------------------------


def string(value: str) -> Attribute:
    """Returns a string attribute."""
    return {"S": value}


def number(value: float) -> Attribute:
    """Returns a number attribute; a float's shortest exact form has at most 17 digits."""
    return {"N": repr(value)}


def boolean(value: bool) -> Attribute:
    """Returns a boolean attribute."""
    return {"BOOL": value}


def document(value: Any) -> Attribute:
    """Returns JSON as a string attribute."""
    return {"S": dump(value)}


def present(attributes: Mapping[str, Attribute | None]) -> Item:
    """Returns an item without the attributes that are None."""
    return {name: value for name, value in attributes.items() if value is not None}


def get_string(item: Mapping[str, Any], name: str, default: str = "") -> str:
    """Returns a string attribute."""
    return str(item[name]["S"]) if name in item else default


def get_int(item: Mapping[str, Any], name: str) -> int:
    """Returns a number attribute that is whole, 0 where there is none."""
    return int(item[name]["N"]) if name in item else 0


def get_float(item: Mapping[str, Any], name: str) -> float:
    """Returns a number attribute, 0.0 where there is none."""
    return float(item[name]["N"]) if name in item else 0.0


def get_bool(item: Mapping[str, Any], name: str) -> bool:
    """Returns a boolean attribute, False where there is none."""
    return bool(item[name]["BOOL"]) if name in item else False


def get_json(item: Mapping[str, Any], name: str) -> Any:
    """Returns what JSON text holds, None where there is none."""
    return json.loads(item[name]["S"]) if name in item else None


def live(item: Mapping[str, Any], now: float) -> bool:
    """Whether an item has not expired: DynamoDB deletes up to two days late."""
    return "ttl" not in item or get_float(item, "ttl") > now


# -- keys ----------------------------------------------------------------------------------


def run_pk(run_id: str) -> str:
    """Returns the partition of a run."""
    return f"RUN#{run_id}"


def key(pk: str, sk: str) -> Item:
    """Returns a primary key."""
    return {"pk": string(pk), "sk": string(sk)}


def path_key(path: str) -> str:
    """Returns a path that sorts by number: `2.0` becomes `00002.00000`."""
    if not path:
        return ""
    parts = [int(part) for part in path.split(".")]
    if max(parts) > PATH_PART_MAX:
        raise PermanentInternal(f"path {path} passes {PATH_PART_MAX} rounds or items")
    return ".".join(f"{part:05d}" for part in parts)


def node_sk(node: NodeKey) -> str:
    """Returns the sort key of a node record."""
    return f"{NODES}{node.ord:05d}#{path_key(node.path)}"


def token_sk(node: NodeKey) -> str:
    """Returns the sort key of the token that a node waits with."""
    return f"{TOKENS}{node.ord:05d}#{path_key(node.path)}"


def input_sk(input_id: str) -> str:
    """Returns the sort key of a message to a run's agents."""
    return f"{INBOX}{input_id}"


def join_sk(join: NodeKey) -> str:
    """Returns the sort key of what is known of a join's edges."""
    return f"{JOINS}{join.ord:05d}#{path_key(join.path)}"


def journal_sk(node: NodeKey, entry_id: str = "") -> str:
    """Returns the sort key of a journal's entry; without one, what those of a node begin with."""
    return f"{JOURNALS}{node.ord:05d}#{path_key(node.path)}#{entry_id}"


def below_sk(run_id: str) -> str:
    """Returns the sort key that names a run of a tool, in the partition of the run around it."""
    return f"{BELOW}{run_id}"


def event_sk(seq: int) -> str:
    """Returns the sort key of an event."""
    return f"{EVENTS}{seq:010d}"


def text_sk(node: NodeKey, attempt: int, stream: str, offset: int) -> str:
    """Returns the sort key of a stored piece of a stream."""
    return f"{attempt_sk(node, attempt)}{stream}#{offset:010d}"


def attempt_sk(node: NodeKey, attempt: int) -> str:
    """Returns what the sort keys of all pieces of an attempt begin with."""
    return f"{TEXTS}{node.ord:05d}#{path_key(node.path)}#{attempt:03d}#"


def subscriber_sk(connection_id: str) -> str:
    """Returns the sort key of a subscriber."""
    return f"{SUBSCRIBERS}{connection_id}"


def node_key(sk: str) -> NodeKey:
    """Returns the address in the sort key of a node record, a join or a piece of text."""
    _, order, path, *_ = sk.split("#")
    parts = [str(int(part)) for part in path.split(".")] if path else []
    return NodeKey(int(order), ".".join(parts))


# -- sizes ------------------------------------------------------------------------------------


def attribute_bytes(value: Mapping[str, Any]) -> int:
    """Returns the size of an attribute's value as DynamoDB counts it, rounded up.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    kind, held = next(iter(value.items()))
    if kind == "S":
        return len(held.encode("utf-8", "surrogatepass"))
    if kind == "N":
        return len(held) // 2 + 2
    if kind == "M":
        return 3 + sum(len(n) + attribute_bytes(v) + 1 for n, v in held.items())
    return 1


def item_bytes(item: Mapping[str, Any]) -> int:
    """Returns the size of an item as DynamoDB counts it, rounded up."""
    return sum(len(name.encode()) + attribute_bytes(value) for name, value in item.items())


def check_item(item: Mapping[str, Any]) -> int:
    """Returns the size of an item.

    Raises:
        TooLarge: DynamoDB would refuse it; emulators may not.
    """
    size = item_bytes(item)
    if size > limits.DYNAMODB_ITEM_BYTES:
        kind = get_string(item, "sk").split("#", 1)[0]
        raise TooLarge(
            f"an item ({kind}) of {size} bytes passes DynamoDB's limit",
            limit=limits.DYNAMODB_ITEM_BYTES,
            actual=size,
        )
    return size


def check_transaction(actions: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a transaction that AWS would refuse.

    Raises:
        TooLarge: Too many actions, too many bytes, or an item too large.
    """
    if len(actions) > limits.DYNAMODB_TRANSACTION_ITEMS:
        raise TooLarge(
            f"a transaction of {len(actions)} items passes DynamoDB's limit",
            limit=limits.DYNAMODB_TRANSACTION_ITEMS,
            actual=len(actions),
        )
    size = sum(check_item(action["Put"]["Item"]) for action in actions if "Put" in action)
    if size > limits.DYNAMODB_TRANSACTION_BYTES:
        raise TooLarge(
            f"a transaction of {size} bytes passes DynamoDB's limit",
            limit=limits.DYNAMODB_TRANSACTION_BYTES,
            actual=size,
        )

"""Reads requirements (PEP 508) as workflows name them: which packages, in which versions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from joinery import limits

if TYPE_CHECKING:
    from joinery.workflow.model import Workflow

_ELSEWHERE: Final = re.compile(r"://|^git\+|^\.{0,2}/|^~/|^[A-Za-z]:\\|\.(whl|zip|tar\.gz)$|\\")
_PINNABLE: Final = "write a name with a version, such as humanize==4.12.0"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a list of requirements.

    Attributes:
        code: Stable name of the rule.
        message: What is wrong.
        hint: What to write instead.
        index: Which of the list; None for the list itself.
    """

    code: str
    message: str
    hint: str = ""
    index: int | None = None


def normal(requirement: str) -> str:
    """Returns a requirement in the one form that equal ones share.

    Raises:
        ValueError: It is none; see `flaws_of`.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        found = Requirement(requirement.strip())
    except InvalidRequirement as error:
        raise ValueError(str(error).split("\n", 1)[0]) from None
    extras = f"[{','.join(sorted(map(canonicalize_name, found.extras)))}]" if found.extras else ""
    return f"{canonicalize_name(found.name)}{extras}{found.specifier}"


def normal_all(requirements: Iterable[str]) -> tuple[str, ...]:
    """Returns requirements in one form and order. Raises: ValueError."""
    return tuple(sorted({normal(requirement) for requirement in requirements}))


def set_key(requirements: Iterable[str]) -> str:
    """Returns the name of a set of requirements: equal sets, equal names. Raises: ValueError."""
    return hashlib.sha256("\n".join(normal_all(requirements)).encode()).hexdigest()[:16]


def flaws_of(requirements: Sequence[Any]) -> Iterator[Flaw]:
    """Yields everything that is wrong with the requirements of one tool or node."""
    if len(requirements) > limits.REQUIREMENTS_MAX:
        yield Flaw("limit.requirements", f"{len(requirements)} requirements; the limit is "
                   f"{limits.REQUIREMENTS_MAX}", "name what the code imports; what that needs "
                   "comes along")  # fmt: skip
    seen: dict[str, str] = {}
    for index, said in enumerate(requirements):
        if not isinstance(said, str):
            continue  # the shape of the file is checked elsewhere
        flaw = _flaw(said)
        if flaw is not None:
            yield Flaw(*flaw, index)
            continue
        name = re.split(r"[\[<>=!~]", normal(said), maxsplit=1)[0]
        if name in seen:
            yield Flaw("requirement.duplicate", f"'{name}' is required twice: '{seen[name]}' and "
                       f"'{said}'", "write one requirement, such as "
                       f"{name}>=1,<2", index)  # fmt: skip
        seen.setdefault(name, said)


def _flaw(said: str) -> tuple[str, str, str] | None:
    from packaging.requirements import InvalidRequirement, Requirement

    text = said.strip()
    if len(text) > limits.REQUIREMENT_CHARS:
        most = f"the limit is {limits.REQUIREMENT_CHARS}"
        return "limit.requirements", f"a requirement of {len(text)} characters; {most}", _PINNABLE
    if text.startswith("-"):
        return "requirement.source", f"'{text}' is an option and no requirement", _PINNABLE
    if " @ " in text or _ELSEWHERE.search(text.split(";", 1)[0].rstrip()):
        return "requirement.source", f"'{text}' does not come from a package index", _PINNABLE
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).split("\n", 1)[0]
        return "requirement.syntax", f"'{text}' is no requirement: {reason}", _PINNABLE
    if found.url:
        return "requirement.source", f"'{text}' does not come from a package index", _PINNABLE
    if found.marker is not None:
        message = f"'{text}' is for some machines only, but code runs on one kind"
        return "requirement.marker", message, f"write {text.split(';', 1)[0].strip()}"
    if any(one.operator == "===" for one in found.specifier):
        return "requirement.syntax", f"'{text}' compares versions as text (===)", "write =="
    return None


# -- of a workflow ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needed:
    """Requirements of a workflow, and who has them.

    Attributes:
        key: The name of the set; see `set_key`.
        requirements: The requirements, in one form and order.
        pointers: The tools and nodes that have them, as JSON pointers.
    """

    key: str
    requirements: tuple[str, ...]
    pointers: tuple[str, ...]


def needed_by(workflow: Workflow) -> dict[str, Needed]:
    """Returns what the tools and nodes of a valid workflow require, by the name of the set."""
    found: dict[str, Needed] = {}
    for pointer, requirements in _said(workflow):
        key = set_key(requirements)
        before = found[key].pointers if key in found else ()
        found[key] = Needed(key, normal_all(requirements), (*before, pointer))
    return found


def _said(workflow: Workflow) -> Iterator[tuple[str, Sequence[str]]]:
    sections: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("tools", workflow.tools),
        ("nodes", workflow.nodes),
    )
    for section, parts in sections:
        for name, part in parts.items():
            requirements: Sequence[str] = getattr(part, "requirements", ())
            if requirements:
                yield f"/{section}/{name}", requirements

"""What ministack does differently from AWS where keys and models of providers are.

Part of `joinery_cli.local.serve`; tested in tests/integration/test_local_stack_services.py.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_MODEL: Final = re.compile(r"(?:[a-z-]+\.)?[a-z0-9-]+\.[a-z0-9][^/]*|arn:.*")
"""The id of a model names its maker, that of an inference profile also its region."""

_ACTIONS: Final = {
    "bedrock:Converse": "bedrock:InvokeModel",
    "bedrock:ConverseStream": "bedrock:InvokeModelWithResponseStream",
}


def mend_providers() -> None:
    """Has the emulator check rights and refuse models as AWS does."""
    _check_the_path_of_parameters()
    _check_conversations_as_calls()
    _refuse_unknown_models()


def _check_the_path_of_parameters() -> None:
    """`GetParametersByPath` was checked against `*`, so the right to one path was none.

    AWS checks it against the parameter that is called as the path.
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
    """
    from ministack.core import iam_actions

    resource = iam_actions.extract_resource_arn

    def with_path(
        service: str, method: str, path: str, headers: Any, body: bytes, *more: Any, **named: Any
    ) -> str:
        if service == "ssm" and headers.get("x-amz-target") == "AmazonSSM.GetParametersByPath":
            told = json.loads(body or b"{}")
            body = json.dumps({**told, "Name": str(told.get("Path") or "/").rstrip("/")}).encode()
        return str(resource(service, method, path, headers, body, *more, **named))

    iam_actions.extract_resource_arn = with_path


def _check_conversations_as_calls() -> None:
    """`ConverseStream` was checked as an action of its own, which AWS does not have.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
    """
    from ministack.core import iam_actions

    action = iam_actions.extract_iam_action

    def as_call(*request: Any, **named: Any) -> str | None:
        found: str | None = action(*request, **named)
        return _ACTIONS.get(found, found) if found else found

    iam_actions.extract_iam_action = as_call


def _refuse_unknown_models() -> None:
    """Bedrock answered for models that there cannot be."""
    from ministack.services import bedrock_runtime

    known = bedrock_runtime._normalize_model_id

    def if_known(model_id: str) -> tuple[str, str, Any]:
        if model_id and not _MODEL.fullmatch(model_id):
            told = ("ValidationException", "The provided model identifier is invalid.", 400)
            return "", "", bedrock_runtime._error(*told)
        found: tuple[str, str, Any] = known(model_id)
        return found

    bedrock_runtime._normalize_model_id = if_known


__all__ = ["mend_providers"]

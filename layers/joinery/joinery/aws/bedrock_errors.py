"""What went wrong at Bedrock, told as Joinery's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from joinery.aws.errors import code_of, status_of
from joinery.errors import JoineryError
from joinery.llm.http_errors import Classifier, ServerError
from joinery.model_errors import (
    PermanentModelAuth,
    PermanentModelQuota,
    PermanentModelRejected,
    TransientModelRateLimited,
    TransientModelStream,
    TransientModelUnavailable,
)

HINT: Final = (
    "allow the model for this account and region, and name it in the template's parameter "
    "BedrockModels"
)

_RIGHTS: Final = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException",
        "IncompleteSignature", "InvalidClientTokenId", "InvalidSignatureException",
        "NoCredentialsError", "NoRegionError", "PartialCredentialsError",
        "UnrecognizedClientException",
    }
)  # fmt: skip

# Bedrock answers 4xx and an error in a stream has no status.
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
_STATUS: Final[Mapping[str, int]] = {
    "internalserverexception": 500,
    "modelerrorexception": 500,
    "modelnotreadyexception": 503,
    "modelstreamerrorexception": 500,
    "modeltimeoutexception": 504,
    "resourcenotfoundexception": 404,
    "serviceunavailableexception": 503,
    "throttlingexception": 429,
    "validationexception": 400,
}
_INVALID_MODEL: Final = ("model identifier", "on-demand throughput", "end of its life")


def model_error(error: Exception, classifier: Classifier, *, started: bool = False) -> JoineryError:
    """Returns the error that one of the AWS SDK stands for.

    Args:
        error: What a call or its stream raised.
        classifier: Names the errors of the provider.
        started: Whether a token came before it.
    """
    code = code_of(error)
    response: Mapping[str, Mapping[str, str]] = getattr(error, "response", None) or {}
    message = str(response.get("Error", {}).get("Message") or "")
    status = _STATUS.get(code.lower()) or status_of(error)
    who = classifier.provider
    if code in _RIGHTS:
        return PermanentModelAuth(f"{who} refused the call ({code}): {HINT}", aws_code=code)
    if code == "ServiceQuotaExceededException":
        return PermanentModelQuota(f"the account has no quota left at {who}", aws_code=code)
    if code in ("ParamValidationError", "ParamValidation"):
        return PermanentModelRejected(f"{who} takes no such request: {error}"[:500])
    if not status and started:
        return TransientModelStream(f"{who} broke its answer off ({code})", aws_code=code)
    if not status:
        return TransientModelUnavailable(f"{who} did not answer ({code})", aws_code=code)
    model = any(text in message for text in _INVALID_MODEL)
    codes = frozenset({code, "model_not_found"} if model else {code})
    told = ServerError(message, codes, status=status)
    if started:
        return classifier.in_stream(told, started=True)
    if status == 429:
        return TransientModelRateLimited(f"{who} throttles ({code})", status=429, aws_code=code)
    return classifier.from_response(status, {}, told)

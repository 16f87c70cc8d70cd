"""What goes wrong when a model is called, part of the tree in `errors.py`.

This module imports nothing but the standard library.
"""

from __future__ import annotations

from joinery.errors import Permanent, Transient


class TransientModelRateLimited(Transient):
    """The model's provider answered 429."""

    code = "model_rate_limited"


class TransientModelUnavailable(Transient):
    """The model's provider is down or answered 5xx."""

    code = "model_unavailable"


class TransientModelTimeout(Transient):
    """The model sent no token, or no further token, in time."""

    code = "model_timeout"


class TransientModelStream(Transient):
    """The model's stream broke or made no sense before it ended."""

    code = "model_stream_broken"


class PermanentModelRejected(Permanent):
    """The model's provider refused the request as malformed (4xx)."""

    code = "model_rejected"


class PermanentModelAuth(Permanent):
    """The key for the model is missing or refused."""

    code = "model_auth"


class PermanentModelQuota(Permanent):
    """The account at the model's provider has no quota or no money left."""

    code = "model_quota"


class PermanentMediaUnsupported(Permanent):
    """The model or its provider cannot take a file; names both."""

    code = "media_unsupported"


class PermanentMediaInvalid(Permanent):
    """What stands for a file is none, is too large, or is an address that is not allowed."""

    code = "media_invalid"


class PermanentEmbeddingsUnsupported(Permanent):
    """The provider has no embeddings."""

    code = "embeddings_unsupported"


class PermanentModelUnknown(Permanent):
    """There is no such model or provider."""

    code = "model_unknown"


class PermanentContextTooLong(Permanent):
    """The prompt does not fit the model's window; names both sizes."""

    code = "context_too_long"


class PermanentModelUnpriced(Permanent):
    """A budget in dollars cannot hold a model whose price nobody knows; `details` names it."""

    code = "model_unpriced"


class PermanentPricesInvalid(Permanent):
    """The table of prices, or those of the installation, are not what they must be."""

    code = "prices_invalid"
    http_status = 503  # whoever starts a run has done nothing wrong

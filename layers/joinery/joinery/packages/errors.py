"""What goes wrong before a package is there, part of the tree in `errors.py`.

This module imports nothing but the standard library.
"""

from __future__ import annotations

from joinery.errors import InvalidRequest, TooLarge, Unavailable


class RequirementsUnsolvable(InvalidRequest):
    """Requirements cannot be met for a target: no version, no wheel, or they rule each other out.

    `details` has `requirements`, `target`, and what the resolver `said`.
    """

    code = "packages.unsolvable"
    http_status = 422


class IndexUnavailable(Unavailable):
    """The package index does not answer; `details` as of `RequirementsUnsolvable`."""

    code = "packages.index_unavailable"


class PackageTooLarge(TooLarge):
    """What requirements resolve to is larger than code may have."""

    code = "packages.too_large"


class PackageRefused(InvalidRequest):
    """A zip is not as packages are: damaged, unsafe, or another one than its name says."""

    code = "packages.refused"

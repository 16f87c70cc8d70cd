"""The optimisation levels of the compiler.

A module of its own, without imports: the command line shows them before it needs a compiler.
"""

from __future__ import annotations

OPT_LEVELS = (0, 1, 2)
"""0: a state a node. 1: pure nodes folded into the Tasks beside them. 2: nodes in a row fused."""

DEFAULT_OPT = 2
"""What is published when nobody says otherwise: the cheapest of them."""

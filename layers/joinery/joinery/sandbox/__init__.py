"""Runs Python that users write: in a process of its own, shut off, within limits."""

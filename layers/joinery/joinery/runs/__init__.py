"""Runs: their state, the node invocation, and the interpreter."""

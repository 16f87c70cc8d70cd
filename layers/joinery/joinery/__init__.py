"""Run AI agent workflows on AWS without servers."""

__version__ = "0.1.0"

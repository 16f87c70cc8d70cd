"""The HTTP API: a router a resource, bodies as pydantic models, one shape for errors."""

"""Adapters to AWS, a file a service; the only place that imports boto3."""

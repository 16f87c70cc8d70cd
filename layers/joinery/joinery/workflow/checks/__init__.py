"""The checks behind `joinery.workflow.validation`, one file a kind.

They work on the raw data of the file, so that a part that is wrong hides nothing
that is wrong elsewhere.
"""

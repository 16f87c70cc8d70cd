"""The joinery command."""

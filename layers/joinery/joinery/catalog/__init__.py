"""The catalogue: published workflows and who may use them."""

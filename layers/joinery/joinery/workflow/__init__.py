"""The workflow: its model, its file formats, validation and expressions."""

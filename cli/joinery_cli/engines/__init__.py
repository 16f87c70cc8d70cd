"""Where runs run: in this process, or on the local stack."""

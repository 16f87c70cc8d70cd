"""Tools that agents call: the port, one file a kind, and what makes them from a plan."""

"""The compiler: a workflow becomes a plan, a state machine and a price."""

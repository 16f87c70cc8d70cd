"""What a person sees of a run while it goes on, drawn from its events alone."""

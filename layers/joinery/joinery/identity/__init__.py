"""Who is calling: bearer tokens and what the authorizer answers."""

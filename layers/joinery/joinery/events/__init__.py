"""Events: their schema, how they are made, and the text that streams between them."""

"""What each word of the command does, one file a word."""

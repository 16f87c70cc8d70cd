"""The WebSocket API: connections, commands, and the replay that a subscriber begins with."""

"""Models: providers, their registry and the scripted stand-in for tests."""

"""Third-party packages of users' code: named in a workflow, built by its author, kept by hash."""

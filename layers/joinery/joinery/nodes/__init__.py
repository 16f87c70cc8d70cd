"""Node types, one file each: what a node does with its inputs."""

"""Benchmarks: each prints figures measured in the same run, as ratios where they compare."""

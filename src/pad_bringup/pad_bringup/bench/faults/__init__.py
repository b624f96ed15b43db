"""Benchmark of faults: each is injected into the running graph and has to end in a hold or one clear error."""

"""Benchmark of the gate and the running graph: one module per section."""

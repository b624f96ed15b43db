"""Benchmarks: what the issues ask to be measured, each section one module, one JSON line at the end."""

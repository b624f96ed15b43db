"""Sections of `pad bench augment`."""

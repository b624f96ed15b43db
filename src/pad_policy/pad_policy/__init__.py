"""Distil a generated dataset into a keypoint-conditioned policy, and run it safely."""

"""Thin ROS 2 nodes around the cores of pad_augment."""

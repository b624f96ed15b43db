"""Thin ROS 2 nodes of pad_bringup: they convert, call and publish."""

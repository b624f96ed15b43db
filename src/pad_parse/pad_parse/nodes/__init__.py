"""ROS 2 nodes of pad_parse: thin wrappers around its cores."""

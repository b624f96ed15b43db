"""Everything that puts PAD together: the cell, the node graph, the demo, the report and the command line."""

"""The distributed program: its graph, nodes, their environments and their processes."""

"""int8: the ways to quantise a graph, the choice among them, and the verdict."""

"""How familiar an image is: a second output of the graph, fitted to a net's own features."""

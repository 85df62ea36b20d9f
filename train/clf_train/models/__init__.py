"""The models: one module an architecture with its net, recipes and tricks, and the registry that names them."""

"""The models: one module an architecture with its recipes, and the registry of all of them."""

"""Reports for people: plots, HTML pages, text and TensorBoard."""

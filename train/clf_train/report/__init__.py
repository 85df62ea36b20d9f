"""Reports: plots, HTML pages, text and TensorBoard."""

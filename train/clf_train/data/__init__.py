"""Training data: sources read into one Dataset, and the batches that a training step is shown."""

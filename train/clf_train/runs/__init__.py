"""The run folder: what a training writes, how it is written, and how it is read back."""

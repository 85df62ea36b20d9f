"""The run folder: what a training leaves, how it is written, and how it is found again."""

"""Inputs: arrays, pictures, files, paths and streams, converted to the batches that a model takes."""

"""Inputs: arrays, pictures, files, paths and streams, made into the batches that a model takes."""

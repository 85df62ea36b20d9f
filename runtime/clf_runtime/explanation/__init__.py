"""Explanation: where in an image a model saw its class, by occlusion; with the heat map as a picture."""

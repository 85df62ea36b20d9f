"""Monitoring: what a long stream of images looks like beside held-out images, and whether that has changed."""

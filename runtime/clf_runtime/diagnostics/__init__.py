"""Diagnostics: what is wrong with a device, and how fast it is; whatever may crash runs in a separate process."""

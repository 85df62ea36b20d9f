"""Diagnostics: what is wrong with a device, and how fast it is; risky things are tried in processes of their own."""

"""The commands: one thin module each, what they have in common, and how results are printed."""

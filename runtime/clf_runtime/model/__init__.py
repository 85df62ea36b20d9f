"""The model file: its card and metadata, its bytes, and what is assumed of a file without a card."""

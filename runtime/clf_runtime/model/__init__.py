"""The model file: its card and metadata, its bytes, and the assumptions about a file without a card."""

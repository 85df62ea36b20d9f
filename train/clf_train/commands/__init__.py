"""The command clf-train."""

"""The command clf-export."""

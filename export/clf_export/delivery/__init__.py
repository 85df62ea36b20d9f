"""What an exported file becomes for the programs of others: one small module a tool, and the table of them."""

"""The proof: the file's answers held to those of the net that was trained, and golden cases for the device."""

"""The proof: the outputs of the file compared with those of the trained net, and golden cases for the device."""

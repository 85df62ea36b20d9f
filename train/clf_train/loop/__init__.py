"""The training loop, with its state, optimizers, devices and processes."""

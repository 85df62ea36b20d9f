"""Evaluation with PyTorch: from images to scores, the test metrics, and the softmax temperature."""

"""Evaluation: accuracy, confusion, calibration and near ties of a model, and the self-test."""

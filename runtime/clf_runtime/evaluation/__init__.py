"""Evaluation: accuracy, confusion, calibration and near ties of a model's answers, and the self-test."""

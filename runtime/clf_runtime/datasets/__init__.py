"""Datasets: labelled images on the disk in every layout that a device reads, and the test part of each."""

"""Batch scoring: a large source is divided into partitions, which processes or Ray's actors classify into files."""

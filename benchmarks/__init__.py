"""Measurements: ratios against peers in the same process, never timed tests."""

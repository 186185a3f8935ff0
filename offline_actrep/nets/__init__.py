"""Torch parts that belong to no one method."""

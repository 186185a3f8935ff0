"""Makers of action points, one file a method."""

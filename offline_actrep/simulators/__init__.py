"""Batched worlds with a large discrete action set, one file a world."""

"""The border with the disk."""

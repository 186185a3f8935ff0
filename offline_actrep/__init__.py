"""offline_actrep."""

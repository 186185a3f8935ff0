"""Judging a policy from the log alone."""

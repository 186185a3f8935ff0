"""Comparators that learn while they act: on points of any representation, or on ids."""

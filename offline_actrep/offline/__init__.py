"""Offline learners: d3rlpy on points and on ids."""

"""The search for the nearest action when every state has its own points."""

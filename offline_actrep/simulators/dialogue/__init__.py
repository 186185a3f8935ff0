"""Task dialogues at the level of dialogue acts: tables, goals, a user, a tracker, a judge."""

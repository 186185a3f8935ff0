"""The nouns: what every other room speaks of. Imports nothing of ours outside itself."""

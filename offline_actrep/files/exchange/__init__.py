"""One file a neighbour: logs and re-labelled logs in the formats of other tools."""

"""The comparison of methods over worlds: many runs, one table of rows, figures from the rows."""

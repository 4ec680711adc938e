"""Labels: their schema, files, checks, and where they come from."""

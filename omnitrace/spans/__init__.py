"""From the response to its spans, and from words to their weights."""

"""From scores of tokens to supports of spans."""

"""The response cut into sentences and sections, and its words weighed."""

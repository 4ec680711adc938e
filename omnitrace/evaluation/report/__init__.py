"""Results as tables, files, pages and comparisons."""

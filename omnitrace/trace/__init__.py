"""The trace: the result of tracing one request, its events, schema and files."""

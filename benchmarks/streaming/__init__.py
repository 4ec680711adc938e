"""What streaming costs; ``streaming.py`` and ``streaming_memory.py`` start it."""

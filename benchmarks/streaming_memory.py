"""How much memory a stream takes of its own while a model writes, short and long.

This starts ``streaming/memory.py``, which says more.
"""

from streaming.memory import main

if __name__ == "__main__":
    raise SystemExit(main())

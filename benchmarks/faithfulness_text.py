"""How faithful attributions of a real model's text are: ours, and those of other packages.

This starts ``faithfulness/text.py``, which says more.
"""

from faithfulness.text import main

if __name__ == "__main__":
    raise SystemExit(main())

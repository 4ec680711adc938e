"""How faithful attributions are on the reference world: text, images, audio and video together.

This starts ``faithfulness/omni.py``, which says more.
"""

from faithfulness.omni import main

if __name__ == "__main__":
    raise SystemExit(main())

"""How faithful attributions are; ``faithfulness_text.py`` and ``faithfulness_omni.py`` start it."""

"""The command line: ``omnitrace trace``, ``show``, ``demo``, ``list``, ``evaluate``, ``label``."""

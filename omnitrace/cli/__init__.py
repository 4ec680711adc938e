"""The command line: ``omnitrace trace``, ``show``, ``demo`` and ``list``."""

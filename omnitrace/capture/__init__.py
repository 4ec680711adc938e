"""Capture: how the raw material of scores leaves a model that is otherwise left alone."""

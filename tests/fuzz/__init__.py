"""Malformed inputs of every kind, made from a seed, and a runner that watches what becomes of them.

``python -m tests.fuzz --seed 1 --number 2400`` runs them and prints counts by category.
"""

"""Traces for the eye: one self-contained HTML file that shows an answer on its sources."""

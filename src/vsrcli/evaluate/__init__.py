"""Measure how close models come to original clips, compared with interpolation."""

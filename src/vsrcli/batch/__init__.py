"""Upscale many videos: find them, skip those that are finished, run the others, record the outcomes."""

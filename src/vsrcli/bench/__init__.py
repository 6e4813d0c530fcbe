"""Measuring what upscaling takes: time, where it goes, and memory."""

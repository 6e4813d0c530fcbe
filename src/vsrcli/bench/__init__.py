"""Measure the speed of upscaling on this machine, where the time goes, and the peak memory."""

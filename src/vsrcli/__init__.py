"""vsr: temporal video super-resolution that keeps every frame, sound and colour."""

__version__ = "0.1.0"

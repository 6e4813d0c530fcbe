"""The version: in a file of its own, so that nothing below has to import the package's root."""

__version__ = "0.1.0"

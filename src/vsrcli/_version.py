"""The version, in a module of its own: no package has to import the root for it."""

__version__ = "0.1.0"

"""Many films, one after the other or side by side: which, where to, which are finished, how each ended."""

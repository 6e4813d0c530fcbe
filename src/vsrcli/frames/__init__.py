"""Array processing of frames: sizes, resampling, tiles, shot changes, saved states."""

"""Video input and output through ffmpeg: probing, decoding, encoding, muxing, and planning an output."""

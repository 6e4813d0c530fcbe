"""One run from source to target: decide, upscale shot by shot, write, resume."""

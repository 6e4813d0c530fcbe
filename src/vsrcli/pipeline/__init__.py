"""One run from source to target: plan, upscale shot by shot, write, resume."""

"""Training: footage becomes batches, batches become weights.

``footage`` decodes a folder once and ``synthesis`` renders clips from its photographs; ``batches`` cuts crops
in space and time, ``device_data`` does so on the accelerator; ``loop`` is the run, to be read from top to
bottom; ``losses``, ``schedules`` and ``optimizers`` are what it minimizes and how, ``recipes`` the settings
of others; ``checkpoints`` is everything that it writes. All randomness depends on (seed, step) alone, so a
run that was killed resumes exactly.
"""

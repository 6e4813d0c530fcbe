"""Training: footage becomes batches, batches become weights.

``clips`` decodes a folder once and ``motion`` makes films of its photographs; ``degrade`` makes low
resolution; ``batches`` cuts crops in space and time, ``device`` does so on the accelerator; ``loop`` is the
run, to be read from top to bottom. Everything random depends on (seed, step) alone, so a run that was killed
goes on as if nothing had happened.
"""

"""Operating system services: atomic files, locks, threads, signals, free memory, text for people."""

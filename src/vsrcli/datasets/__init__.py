"""Data sets: the folder structures that they are published in, and sets built from videos of one's own.

``layouts`` recognizes REDS, Vimeo-90K septuplets, benchmarks and built sets; ``build`` cuts videos into clips
of areas that move; ``info`` says what a folder holds.
"""

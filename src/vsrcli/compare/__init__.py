"""Films beside each other, moment by moment: as a film, as a picture, as a page; and how near they are to a
reference.

``films`` says what is compared, ``moments`` brings the pictures that belong together, ``layout`` puts them on
one canvas; ``film``, ``still`` and ``page`` write what comes of it, ``figures`` and ``vmaf`` measure.
"""

"""Compare videos frame by frame, as a video, an image or an HTML page, with scores against a reference.

``inputs`` plans a comparison, ``alignment`` yields frames of all videos at the same time, ``canvas`` composes
them into one image, ``scoring`` measures them; ``writers`` and ``html`` write the results, the latter from
the ``snapshots`` of a page.
"""

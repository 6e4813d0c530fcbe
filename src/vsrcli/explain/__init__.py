"""What a network looks at: its filters, its frames, its layers and its memory, at one time of a video.

``moment`` reads the frames around a time, ``pixels`` chooses what to look at, ``networks`` runs a network on
altered frames, as an engine does and, where Keras builds it, with its layers in sight. ``filters`` measures
dynamic filters, ``attribution`` which frames, pixels and earlier frames mattered; ``analysis`` puts them
together. ``figures`` and ``sheet`` draw them as one picture, ``page`` writes them as a page.
"""

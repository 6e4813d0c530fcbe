"""One video on several processes or machines: a plan of pieces, and a driver that hands them out."""

"""Read and write image sequences and single images as if they were videos."""

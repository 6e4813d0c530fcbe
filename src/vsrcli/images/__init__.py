"""Pictures as a film: a sequence of files, a folder, or a single photograph, in and out."""

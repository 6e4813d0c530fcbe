"""What lies on disk while a film is worked: a folder, a lock, a journal."""

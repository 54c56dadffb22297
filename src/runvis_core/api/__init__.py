"""The HTTP face: it takes events in and answers questions about runs."""

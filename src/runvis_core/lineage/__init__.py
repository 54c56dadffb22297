"""What reads, writes and starts what: the graph of definitions and datasets, and its loops."""

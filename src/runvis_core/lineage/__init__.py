"""What feeds what: graphs over definitions and datasets, and the loops in them."""

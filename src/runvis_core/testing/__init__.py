"""For authors of adapters and stores: the suites that theirs must pass."""

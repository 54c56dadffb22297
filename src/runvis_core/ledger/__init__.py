"""A Merkle tree over the log, signed checkpoints of it, and proofs that others can check."""

"""The proof that the log is whole and unaltered: a Merkle tree over it, signed checkpoints, proofs, verification."""

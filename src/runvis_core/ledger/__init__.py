"""The proof that the log is whole and unaltered: a Merkle tree, signed checkpoints, proofs, verification."""

"""Log entries, Merkle tree, checkpoints, proofs."""

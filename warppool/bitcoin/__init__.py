"""Bitcoin's own rules: hashes, targets, headers, merkle paths, coinbases, blocks and addresses; pure."""

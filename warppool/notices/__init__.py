"""What an operator is told without looking: notices of blocks, nodes, machines and the books, to a URL or a command."""

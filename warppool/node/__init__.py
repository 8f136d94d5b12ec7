"""Where templates come from and found blocks go: JSON-RPC or an embedded chain, behind one face."""

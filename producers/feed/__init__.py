"""Pure feed handlers: the contract of a venue's protocol, and the books and trades that it feeds."""

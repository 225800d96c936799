"""Pure feed handlers: the venue protocol's interface, order books and trade streams."""

"""Pure stream processing of books and trades."""

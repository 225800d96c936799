"""Pure stream processing: what is computed of books and trades."""

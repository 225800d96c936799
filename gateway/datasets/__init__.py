"""Result sets of the REST interface: rows in time order, from memory and from ClickHouse's tables, in pages."""

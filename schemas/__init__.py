"""Wire format: one Avro schema per record, typed record classes, the codec and the schema registry client."""

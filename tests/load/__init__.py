"""Load on a running gateway: many clients of the stream, in processes (see :mod:`tests.load.__main__`)."""

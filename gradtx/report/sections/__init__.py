"""The sections of a page: a file for each kind."""

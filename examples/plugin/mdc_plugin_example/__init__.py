"""A pass and a backend for mdcompiler, from a package of their own."""

"""See the modules here."""

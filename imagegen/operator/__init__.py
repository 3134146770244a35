"""What a person asks of the database, a module a command."""

"""One SQLite file: values in two levels, one writer, free pages given back."""

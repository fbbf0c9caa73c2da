"""The only code that touches the machine: processes, files, git, the network, SQLite."""

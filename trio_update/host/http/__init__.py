"""The one HTTP client, and downloads."""

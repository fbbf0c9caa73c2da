"""What apps need besides their own files: parsers and decisions that several kinds of app share."""

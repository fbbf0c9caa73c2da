"""Zip archives, judged as a whole before anything is unpacked."""

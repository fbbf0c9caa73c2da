"""One updater a kind of app: looks, plans, prepares; never commits by itself."""

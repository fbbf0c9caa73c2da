"""One folder for each kind of app, whose updater looks, decides and prepares; it never commits by itself.

:mod:`trio_update.updaters.kinds` lists them.  Nothing is imported here: a configuration is checked with the kinds
alone.
"""

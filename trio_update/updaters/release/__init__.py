"""Apps that come as an asset of a release: web clients, zipped applications, programs."""

"""Where models lie, in a folder or at a URL, and what a name means: the latest, or what the log promoted."""

"""The web page of Bavos: layout, handlers and pictures. The method itself is in bavos_core."""

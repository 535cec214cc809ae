"""The web page of Bavos: layout, handlers and pictures for people. No maths of the method."""

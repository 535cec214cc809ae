"""The panels of the page: each module holds the components of one panel and its events."""

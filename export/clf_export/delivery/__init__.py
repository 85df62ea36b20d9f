"""What a proven file is delivered as, beside itself: a page for a browser, files for other tools, a repository."""

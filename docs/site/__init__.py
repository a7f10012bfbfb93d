"""What makes the documentation besides its pages; see mkdocs.yml."""

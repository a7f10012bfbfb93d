"""Pictures of what a spatial transformer does."""

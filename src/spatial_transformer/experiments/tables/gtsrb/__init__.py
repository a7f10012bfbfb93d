"""German traffic signs."""

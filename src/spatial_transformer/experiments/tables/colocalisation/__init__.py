"""Table 5 of the paper: co-localisation."""

"""Shows results as tables, JSON, CSV and plots. It runs nothing."""

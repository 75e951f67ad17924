"""Pages: one self-contained HTML file for what a command found."""

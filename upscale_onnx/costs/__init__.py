"""What operators cost on a target: presets, measured tables, profiles, and predictions made of them."""

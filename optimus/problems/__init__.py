"""Test functions, presets that make benchmark problems of them, and other libraries' problems."""

"""Data sets: read, checked, split, and drawn from on the device."""

"""From pixels to metres: measured depth where there is some, the size of a hand where there is none."""

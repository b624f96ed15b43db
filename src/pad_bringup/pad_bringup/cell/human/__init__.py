"""A synthetic human: two skinned hands that grasp, lift and pour in the cell, rendered and written as a recording."""

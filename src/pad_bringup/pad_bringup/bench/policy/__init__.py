"""`pad bench policy`: inference, learning curve, ablations, baselines and vision of the pour in the cell."""

"""`pad bench tasks`: every task of the cell by the paper's protocol, from the recording to the table."""

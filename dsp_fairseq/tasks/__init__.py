"""Tasks of fairseq that models are trained for, and their criteria."""

"""The figure style and the plots every paper needs."""

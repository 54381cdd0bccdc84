"""What the documentation makes of the code at build time: API pages, the gallery, formulas as MathML."""

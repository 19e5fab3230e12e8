"""One file a product. `base` is the seam, files with a leading underscore are shared between them."""

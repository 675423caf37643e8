"""Pages, charts, tables and grids of pictures."""

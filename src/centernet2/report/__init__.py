"""Pages, charts, tables and contact sheets."""

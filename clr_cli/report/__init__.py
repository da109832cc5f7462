"""Pages, tables and figures of finished results."""

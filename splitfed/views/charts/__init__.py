"""What the page and the report draw with: one library of charts, one set of modules, one kind of figure."""

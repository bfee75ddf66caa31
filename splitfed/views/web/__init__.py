"""The live view in a browser: a small server that reads the records of runs, and the page that it serves."""

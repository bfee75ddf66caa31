"""What a run leaves on disk, each record one typed class."""

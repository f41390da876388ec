"""What a run shows and leaves behind: screen, results, files and figure."""

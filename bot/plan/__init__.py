"""Plans: the procedure as YAML (`file`), checked and compiled (`compile`) to typed values (`model`)."""

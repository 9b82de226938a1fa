"""What one running node does beside runs: looks out, tells its faults, pages, keeps files outside the database."""

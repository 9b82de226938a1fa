"""What is never told: secrets, by what they look like and by what this process holds."""

"""What handlers of schemas share: `ways`, from where a database stands to where a release needs it, and what they cost;
`proof`, whether the older release works on the schema as it is; `moving`, going a way one revision at a time."""

"""What a postmortem is made of: the day (`dates`), the draft (`draft`), the invitation (`invitation`), the ticket
(`tickets`). Pure: a run's story goes in, text comes out; no clock, no I/O."""

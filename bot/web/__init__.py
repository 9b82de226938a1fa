"""The bot over HTTP: what the command line, CI and probes speak to. JSON in, JSON out.

Invariants:
- every request but the probes, a signed webhook and what Slack signs stands for one person, by a personal token; what
  they may do is decided behind this package, by policy, from roles as they are now;
- what cannot be read (malformed, unknown field, wrong type) is a 400 that says what and where; a "no" is a 403, 404
  or 409 with why, text and who can; trouble with the database is a 503 with what to do. Nothing was written then.
  Anything else is a fault of ours: logged, and told without its inside;
- nothing waits for ever: bodies are small and must arrive in time, long polls end by themselves and at shutdown.
"""

from bot.web.routes import app
from bot.web.serves import Serves

__all__ = ["Serves", "app"]

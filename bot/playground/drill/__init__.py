"""A game day: a team's own roles, channels, limits and plan, rehearsed on the demo's world by people who are acted.

The team's: who there is and who may decide, channels, gates, limits, the plan, the names of its clusters. Played: what
runs in them, database, cache, backups, frontend, partner and customers are the shop's, for each kind of target that the
team's service has; `world` says what of it has no double.

Invariant: the bot is the real one, told by its environment alone; nothing of the team's is reached.
"""

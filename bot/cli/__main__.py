"""`python -m bot.cli` is `rollback-bot`."""

from bot.cli import main

main()

"""Every revision of the shop's database. `bot.playground.shop.schema.write` makes the tree of a release of them."""

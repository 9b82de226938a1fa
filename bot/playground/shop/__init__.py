"""A small product on two clusters of the Kubernetes simulator, to break and to roll back.

    async with Shop(folder) as shop:                    # bot.playground.shop.shop; 2.4.0 serves, then 2.4.1
        async with shop.traffic(per_second=5): ...      # customers who pay
        shop.releases["2.4.1"]                          # body of POST /v1/releases, with images by digest
        shop.kubeconfig, shop.catalogue()               # what the bot is told
        await shop.truth()                              # what runs where, what is paused, what was lost or done twice

`python -m bot.playground.shop` runs it for people.

The product's own programs, run by pods as `python -m bot.playground.shop.<program>`: `api` (catalogue, cart, payments),
`worker` (sends receipts), `settle` (the cron: settles payments). One code for all releases; `behaviour` says what each
release does differently. What must not be lost lies outside the pods, in `database`. These programs import the
standard library and each other only, so that a process starts in less than a tenth of a second; that is why nothing is
imported here.

Its second half costs more, and is there where it is asked for:

    async with Shop(folder, second=True) as shop:       # a second or two more; server=... shares a PostgreSQL
        shop.data.place, shop.data.valkey               # addresses; shop.data.logins: who may log in
        shop.data.rows("SELECT ..."), .queue(), .keys(), .backup(age=600), .alembic("2.4.1", "downgrade", "0041")

Orders are then in PostgreSQL, under migrations of the shop's own (`schema`: a tree a release), jobs, events and the
cache in Valkey (`orders`), and the API has accounts, messages, disputes and a switch that closes it for writes
(`tenants`). `data` alone, without clusters, serves tests of databases and queues.

2.4.1 is bad: most payments fail, the worker throws and puts its jobs back, the cron hangs. It also changed four
settings and one environment variable, and 2.4.0 fails on those: it takes the code and its configuration to go back.
With the second half it migrates to 0042 too, writes coupons and discounted orders, and makes jobs and events that 2.4.0
cannot read.
"""

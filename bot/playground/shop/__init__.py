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

2.4.1 is bad: most payments fail, the worker throws and puts its jobs back, the cron hangs. It also changed four
settings and one environment variable, and 2.4.0 fails on those: it takes the code and its configuration to go back.
"""

"""The main job, end to end, on this machine: a Slack workspace, a shop on two clusters, the bot, and people.

    stage       what is set up: workspace, clusters, shop, customers, the bot as a process of its own
    people      who types and clicks what, as they would in Slack
    live        what is told of it while it happens
    verdict     what must be true at the end, asked of the shop, the clusters and the record
    duties      what a rollback has to do, and what of it stands in the record
    story       the stories; titles: what they are called
    trouble     what goes wrong in them on purpose

Nothing here imports the bot: it starts the same `rollback-bot` that an operator starts, and people use it through the
workspace. `python -m bot.playground.demo` plays it; tests/acceptance plays it with crashes and colleagues in between.
"""

"""The workspace as a web page, for a person to drive by hand: channels, threads, cards, forms, and faults to switch on.

    site        the routes: who is let in, what the page is told, what it may do
    picture     what one person sees of the workspace, as JSON
    stream      what changed since, as server-sent events
    hands       what a person does, as calls of the workspace's driver
    world       what can be made to happen around the bot
    static/     the page: plain JavaScript and CSS, no build step, nothing from outside

Invariant: the page drives the workspace as tests do, through its driver, and never reaches the bot.
"""

"""From a run to messages: blocks, cards, posts. Pure."""

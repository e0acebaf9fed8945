"""The answer in a reply, read by an ordered table of rules, whatever the formatting of the reply."""

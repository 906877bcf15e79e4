"""Which process may own a profile: evidence, rules, admission."""

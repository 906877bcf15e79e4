"""What any process may do with a profile that it does not own: read, define, ask.

The command line, the web page and the library share these. Definitions are transactions on the
store (C7, C12); trigger, cancel, retry and hand-over are requests that the owner answers, a
durable row first and a nudge after; reports say who owns, who is there, and why not. Nothing
here runs a job, and nothing here prints.
"""

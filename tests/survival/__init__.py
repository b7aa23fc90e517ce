"""Sessions that are killed at random moments on a practice exchange that does wrong at random, and the laws that must hold all the same.

schedule    what happens in one of these lives, drawn from a seed
exchange    the venue, in a process of its own; what was true there
trader      a session, in a process of its own, until it is killed
play        one schedule from the first order to the last word
laws        what of the venue's books and the session's journal does not fit
"""

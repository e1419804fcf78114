"""THE ORDER OF A PROGRAM: start it, perform its system calls, tell who hears of its end."""

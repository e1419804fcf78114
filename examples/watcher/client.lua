-- Makes some calls: a good one, one for something that is not there, one nobody answers.
os.request(0, "time.now")
os.get_program("nobody.has.this")
os.request(0, "no.such.call", 1, nil, 3)
print("client: done", ...)

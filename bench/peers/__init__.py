"""The same work for lithox and for what people use today, in one run: `make bench-peers`.

`python -m bench.peers.run` measures; the modules beside it each answer one question: how a peer is
had (packages), started and asked (peer and one module each), how load is made (asking, wrk), what
is asked (workloads, harm), and what the figures say (reach, page, plots).
"""

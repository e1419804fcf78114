# Every target is one line into tools/task.py, which sets up what is missing first.
PYTHON ?= python3

help: ## list these targets
	@$(PYTHON) tools/task.py help
demo: ## set up, run the main job on real input against a real node, print what it measured
	@$(PYTHON) tools/task.py demo
check: ## lint, types, layers, docs links, rules of the repository (under a minute)
	@$(PYTHON) tools/task.py check
fix: ## format, and mend what the linter can mend
	@$(PYTHON) tools/task.py fix
test: ## the whole test suite
	@$(PYTHON) tools/task.py test
sim: ## simulations of 1,000 seeds; SEED=n repeats one, RUNS=n makes fewer, NIGHTLY=1 very many
	@$(PYTHON) tools/task.py sim $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) $(if $(NIGHTLY),--nightly)
conformance: ## what every store, guest engine and runtime must do alike
	@$(PYTHON) tools/task.py conformance
e2e: ## real processes, kill -9 at named crash points
	@$(PYTHON) tools/task.py e2e
torment: ## nodes ended badly under load, 100 rounds of each kind (or ROUNDS=n, NODE=kind, SEED=n)
	@$(PYTHON) tools/task.py torment $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(NODE),--node $(NODE))
docs: ## write the generated pages again
	@$(PYTHON) tools/task.py docs
bench: ## measure, each figure beside its yardstick
	@$(PYTHON) tools/task.py bench
bench-compare: ## what moved on the hot path since the last tag; REF=commit, QUICK=1, WRITE=1 renews
	@$(PYTHON) tools/task.py bench-compare $(if $(REF),--ref $(REF)) $(if $(QUICK),--quick) $(if $(WRITE),--write)
bench-peers: ## the same work for lithox and for Redis, Tarantool, workerd, Restate, DBOS, side by side
	@$(PYTHON) tools/task.py bench-peers $(if $(ONLY),--only $(ONLY)) $(if $(WORKLOADS),--workloads $(WORKLOADS))
bench-mixed: ## half an hour of mixed load (or MINUTES=n): throughput, p99 and memory must be flat
	@$(PYTHON) tools/task.py bench-mixed $(if $(MINUTES),--mixed $(MINUTES))
lock: ## choose dependency versions anew and write them with their hashes
	@$(PYTHON) tools/task.py lock
all: ## check, test and bench
	@$(PYTHON) tools/task.py all
clean: ## remove everything that set-up and tests have made
	@$(PYTHON) tools/task.py clean

.PHONY: help demo check fix test sim conformance e2e torment docs bench bench-compare bench-peers bench-mixed lock all clean

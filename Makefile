.PHONY: demo serve test check train bench figures install clean

demo:            ## install, then write a reenacted video into demo/
	@scripts/demo

serve:           ## install, then let a webcam drive a portrait: open the URL it prints
	@scripts/serve

test:            ## install, then run the tests
	@scripts/test

check:           ## ruff, mypy --strict, import rules
	@scripts/check

train:           ## the bundled model from the media in DIFFFAE_DATA: hours
	@scripts/train

bench:           ## frames a second, start-up time and memory of the offline command
	@scripts/bench offline

figures:         ## pictures, tables and documents about the bundled model
	@scripts/figures

install:         ## only make .venv and install into it
	@scripts/install demo,dev,server,train

clean:           ## remove what the commands above made, .venv included
	rm -rf .venv demo dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

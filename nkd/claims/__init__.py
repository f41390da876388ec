"""Famous claims about distillation, each put to the test: `nkd claims`, and the course.

`experiments.py` says what each claim is and how it is tested; `laboratory.py` trains what that
takes; `decoupled.py` is a loss that one of them needs; `command.py` tests all of them.
"""

"""Asks a finished demo whether the search did its work: check_demo.py RUNG STATE_DIR. Exits 1 with what is missing."""
import json
import os
import subprocess
import sys

MODEL_PROPOSALS = 10  # configs that the model, not chance, proposed
TEST_F1_MACRO = 0.793  # measured .843


def complaints(outcome):
    incumbent, default = outcome["incumbent"], outcome["default"]
    if outcome["state"] != "done" or incumbent is None or default is None:
        yield f"the study is {outcome['state']}, or has no incumbent or no default"
        return
    if outcome["model_proposals"] < MODEL_PROPOSALS:
        yield f"the model proposed {outcome['model_proposals']} configs; {MODEL_PROPOSALS} at least"
    if outcome["resumed_at_top"] < 2:  # the default, which is sent through all rungs, is one
        yield "no trial of the search reached the top rung by resuming from its checkpoint"
    if default["score"] is None or incumbent["score_rung"] != default["score_rung"]:
        yield "incumbent and default were not judged at the same rung"
    elif incumbent["score"] < default["score"]:
        yield f"the incumbent's {incumbent['score']} on validation is below the default's {default['score']}"
    if default["trial"] != 1:
        yield f"the default is trial {default['trial']}, not the first"
    for name, trial in (("incumbent", incumbent), ("default", default)):
        if trial["evaluation"] is None:
            yield f"the {name} was not evaluated on the test file"
            return
        rows, matrix = trial["evaluation"]["values"]["test/rows"], trial["confusion_matrix"]
        if matrix is None or sum(map(sum, matrix["counts"])) != rows:
            yield f"the {name}'s confusion matrix does not count the {rows:g} rows of the test file: {matrix}"
    tested = incumbent["evaluation"]["values"]["test/f1_macro"]
    if tested < TEST_F1_MACRO:
        yield f"the incumbent's macro-F1 on the test file is {tested}; {TEST_F1_MACRO} at least"


def main(rung, state):
    study = os.path.join(os.path.dirname(os.path.abspath(__file__)), "study.json")
    # `run` on a finished study trains nothing: it prints the stored outcome.
    shown = subprocess.run([rung, "run", study, "--dir", state, "-o", "json"], capture_output=True, text=True)
    if shown.returncode != 0:
        sys.exit(f"rung run ended with {shown.returncode}: {shown.stderr}")
    missing = list(complaints(json.loads(shown.stdout)))
    for complaint in missing:
        print("demo:", complaint, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

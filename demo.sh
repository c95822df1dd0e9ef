#!/usr/bin/env bash
# The whole way on drawn pictures: demo.sh FOLDER (made anew). `make demo` calls it with the environment on the PATH.
set -euo pipefail
cd "$(dirname "$0")"
out=$1
rm -rf "$out"
step() { printf '\n== %s\n' "$*"; "$@"; }

step make-demo-dataset --output "$out/pictures"
step inspect-dataset "$out/pictures" --classes "$out/pictures/classes.txt" --output "$out/inspection" \
  --html "$out/inspection.html"
step convert-dataset --input "$out/pictures" --output "$out/records" --classes "$out/pictures/classes.txt"
step kseg-train --flagfile=configs/demo_fcn.flags --data="$out/records" --output_dir="$out/run"
step kseg-eval --run "$out/run" --data "$out/records" --split validation \
  --json "$out/scores.json" --confusion_png "$out/confusion.png"
step kseg-export --run "$out/run" --export_dir "$out/export"
step kseg-predict --saved_model "$out/export/1" --images "$out/pictures/validation" --output "$out/predictions"

python - "$out" <<'PYTHON'
import json, pathlib, sys

out = pathlib.Path(sys.argv[1])
scores = json.loads((out / "scores.json").read_text())
print(f"\nvalidation mIOU {scores['mIOU']:.4f}, on pictures that were not trained on")
for name, path in [("run", out / "run"), ("export", out / "export" / "1"),
                   ("overlay", min((out / "predictions" / "overlays").iterdir())),
                   ("inspection", out / "inspection.html")]:
    print(f"{name:12s}{path.resolve()}")
PYTHON

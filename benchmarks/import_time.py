"""What `import spatial_transformer` adds to `import torch`: python -m benchmarks.import_time"""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import save, summary, warn_if_busy

RUNS = 10
CODE = "import torch; import spatial_transformer"


def added() -> float:
    """Seconds, as ``python -X importtime`` counts them, in a process of its own."""
    command = [sys.executable, "-X", "importtime", "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"\| +(\d+) \| spatial_transformer$", done.stderr, re.M)
    assert found is not None
    return int(found[1]) / 1e6


def main() -> None:
    warn_if_busy()
    added()  # writes the bytecode, reads the files
    seconds = summary([added() for _ in range(RUNS)])
    print(f"{seconds['median']:.3f} s beyond torch, median of {RUNS}")
    save(Path("results/benchmarks/import.json"), [seconds])


if __name__ == "__main__":
    main()
